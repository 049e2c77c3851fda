"""Brings a database to the newest schema. Alembic is loaded only when there is something to do: it is slow to start."""

from pathlib import Path

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.store.database import Database

HEAD = "0029"
_SCRIPTS = Path(__file__).parent / "migrations"


def revision(database: Database) -> str | None:
    """The schema's revision; None for an empty database."""
    with database.read() as conn:
        if not sa.inspect(conn).has_table("alembic_version"):
            return None
        found = conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return str(found) if found is not None else None


def upgrade(database: Database, target: str = HEAD) -> None:
    """Run the migrations up to `target` that are missing, in one transaction.

    A schema newer than this program is a ConfigError.
    """
    found = revision(database)
    if found == target:
        return
    if found is not None and found > HEAD:
        raise errors.ConfigError(setting="database", reason=f"its schema {found} is newer than this program's {HEAD}")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with database.write() as conn:
        database.lock_name(conn, "migrate")
        config.attributes["connection"] = conn
        command.upgrade(config, target)
