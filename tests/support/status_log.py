"""Every change of a status in a service's database, recorded by the database itself: whoever writes it, and however."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nbdsvc.model import states

NEW, GONE = states.NEW, "gone"
TABLES = {"volumes": states.VOLUME, "snapshots": states.SNAPSHOT, "attachments": states.ATTACHMENT}
# The table of migration_status, a column of volumes.
_TABLES = {**TABLES, "migrations": states.MIGRATION}
_MIGRATION = """CREATE TRIGGER IF NOT EXISTS log_migrations AFTER UPDATE OF migration_status ON volumes
WHEN coalesce(OLD.migration_status, 'none') <> NEW.migration_status
BEGIN INSERT INTO status_log VALUES('migrations', NEW.id, coalesce(OLD.migration_status, 'none'), NEW.migration_status); END"""
_MAKE = "CREATE TABLE IF NOT EXISTS status_log(noun TEXT, id TEXT, source TEXT, target TEXT)"
_TRIGGERS = {
    "INSERT": ("NEW.id, 'new', NEW.status", ""),
    "UPDATE OF status": ("NEW.id, OLD.status, NEW.status", "WHEN OLD.status <> NEW.status"),
    "DELETE": ("OLD.id, OLD.status, 'gone'", ""),
}


class StatusLog:
    """Triggers in the SQLite database of a service that runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.connected() as connection:
            connection.execute(_MAKE)
            connection.execute(_MIGRATION)
            for noun in TABLES:
                for number, (event, (values, when)) in enumerate(_TRIGGERS.items()):
                    connection.execute(
                        f"CREATE TRIGGER IF NOT EXISTS log_{noun}_{number} AFTER {event} ON {noun} {when} "
                        f"BEGIN INSERT INTO status_log VALUES('{noun}', {values}); END"
                    )

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A write transaction of our own beside the service's."""
        with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
            yield connection

    def clear(self) -> None:
        """Forget what was recorded."""
        with self.connected() as connection:
            connection.execute("DELETE FROM status_log")

    def moves(self) -> set[tuple[str, str, str]]:
        """(noun, status, next status) of every change until now; `new` before a row was there, `gone` after it was."""
        with self.connected() as connection:
            return set(connection.execute("SELECT DISTINCT noun, source, target FROM status_log"))


def unlawful(moves: set[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Those that no row of model/states.py has."""
    return sorted(move for move in moves if move[1:] not in _lawful(_TABLES[move[0]]))


def _lawful(table: dict[str, states.Transition]) -> set[tuple[str, str]]:
    ends = {
        (source, GONE)
        for transition in table.values()
        if transition.done is None
        for source in ([transition.during] if transition.during else transition.sources)
    }
    return set(states.moves(table)) | ends
