"""Databases with the newest schema, copied from one that was migrated: the migrations take half a second each time."""

import functools
import shutil
import tempfile
from pathlib import Path

from postgres import Postgres

from nbdsvc.store import migrate
from nbdsvc.store.database import Database

_TEMPLATE = "migrated"


def sqlite_at(path: Path) -> None:
    """Make the database as a service leaves it when it has only migrated it. The file is private, as a service's is."""
    path.touch(0o600)
    shutil.copyfile(_sqlite_template(), path)


def postgresql_of(server: Postgres) -> str:
    """The URL of a new database of that server."""
    if not server.has(_TEMPLATE):
        _migrate(server.database(_TEMPLATE))
    return server.database(like=_TEMPLATE)


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="nb-template-", dir="/var/tmp")


@functools.cache
def _sqlite_template() -> Path:
    path = Path(_folder().name) / "nbdsvc.db"
    _migrate(str(path))
    return path


def _migrate(url: str) -> None:
    database = Database(url)
    migrate.upgrade(database)
    database.close()  # its last connection moves the WAL into the file
