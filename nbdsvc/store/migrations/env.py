"""Alembic's environment: runs on the connection that store/migrate.py opened, inside its transaction."""

from alembic import context

from nbdsvc.store import (  # noqa: F401 (so that the metadata has all tables)
    backup_tables,
    group_tables,
    host_tables,
    notification_tables,
)
from nbdsvc.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
