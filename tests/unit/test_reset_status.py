"""os-reset_status against what happens to the row at the same moment, on both databases."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.config import Settings
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.service import Service
from nbdsvc.snapshots.reset_status import reset_snapshot_status
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories
from nbdsvc.store.database import Database
from nbdsvc.volumes.reset_status import reset_status

ROOT = Context("p", "u", frozenset({ADMIN}), "")
_BLOCKED = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[App]:
    """The side that answers requests; nothing runs what it submits."""
    service = Service(Settings(state_dir=tmp_path / "s", database=database_url, database_reserve=0), with_host=False)
    yield service.app
    service.stop()


@pytest.fixture
def volume(app: App) -> Volume:
    with app.database.write() as conn:
        return repositories.volumes.insert(
            conn, Volume(names.new_id(), "p", "u", size=1, status="available", host="h", backend="b", pool="p")
        )


def _is_blocked(database: Database) -> bool:
    """Whether a transaction waits for another one; SQLite shows nothing of it."""
    with database.read() as conn:
        return database.is_sqlite or bool(conn.execute(_BLOCKED).scalar())


def _operation(kind: str, id: str) -> Operation:
    noun = kind.partition(".")[0]
    return Operation(names.new_id(), kind, "h", "p", resource_type=noun, resource_id=id, args={}, locks=[])


class _Refused(threading.Thread):
    """A reset in a thread of its own; `refused`: whether it ended with a Conflict."""

    def __init__(self, reset: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._reset = reset
        self.refused = False

    def run(self) -> None:
        try:
            self._reset()
        except errors.Conflict:
            self.refused = True


def test_a_reset_does_not_lose_an_extend_that_begins(app: App, volume: Volume) -> None:
    """A reset that meets an operation before its commit waits for it and is refused: the status stays the operation's."""
    thread = _Refused(lambda: reset_status(app, ROOT, volume.id, {"status": "available"}))
    with app.database.write() as conn:
        repositories.volumes.transition(conn, volume.id, ["available"], "extending", action="extend", target_size=2)
        journal.insert(conn, _operation("volume.extend", volume.id))
        thread.start()
        wait_until(lambda: _is_blocked(app.database))
    thread.join(60)
    with app.database.read() as conn:
        row = repositories.volumes.get(conn, volume.id)
    assert (row.status, row.target_size, thread.refused) == ("extending", 2, True)


def test_a_reset_does_not_undo_a_deletion_that_begins(app: App, volume: Volume) -> None:
    """The same for a snapshot: a deletion that is about to begin is not taken back."""
    snapshot = Snapshot(names.new_id(), "p", "u", volume_id=volume.id, volume_size=1, status="available")
    thread = _Refused(lambda: reset_snapshot_status(app, ROOT, snapshot.id, "available"))
    with app.database.write() as conn:
        repositories.snapshots.insert(conn, snapshot)
    with app.database.write() as conn:
        repositories.snapshots.transition(conn, snapshot.id, ["available"], "deleting", action="delete")
        journal.insert(conn, _operation("snapshot.delete", snapshot.id))
        thread.start()
        wait_until(lambda: _is_blocked(app.database))
    thread.join(60)
    with app.database.read() as conn:
        status = repositories.snapshots.get(conn, snapshot.id).status
    assert (status, thread.refused) == ("deleting", True)
