"""Alembic's environment: runs on the connection that store/migrate.py opened, inside its transaction."""

from alembic import context

from nbdsvc.store.group_tables import groups

context.configure(connection=context.config.attributes["connection"], target_metadata=groups.metadata)
context.run_migrations()
