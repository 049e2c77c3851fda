"""Alembic's environment: runs on the connection that store/migrate.py opened, inside its transaction."""

from alembic import context

from nbdsvc.store import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
