"""Durable truth: tables, migrations, one file a noun. Foreign exceptions of the database stop here."""
