"""What a move left at a volume's second place, and when that is removed; on both databases."""

import pytest

from nbdsvc.app import App
from nbdsvc.config import Settings
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Move, Volume
from nbdsvc.operations.client import Operations
from nbdsvc.store import backends, hosts, promises, repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB
from nbdsvc.volumes.moves.left import finish_moves


@pytest.fixture
def app(database: Database) -> App:
    """The side that submits, with one backend of host `old` that works; nothing runs what it submits."""
    pool = PoolStats("p", 10 * GiB, 10 * GiB, 0, 0, 0, thin=False)
    with database.write() as conn:
        settled = promises.settled(conn, "old", "b")
        backends.report(
            conn, "old", "b", "nova", [pool], promises.measured(settled, settled), working=True, capabilities={}
        )
    return App(database, Operations(database, None), Settings(), None, {"old@b": clock.monotonic()})


@pytest.mark.parametrize("switched", [True, False])
def test_the_last_copy_of_a_volume_is_not_removed(app: App, switched: bool) -> None:
    """A volume is on a host that was declared lost: its source stays until that host returns. A destination goes at once."""
    with app.database.write() as conn:
        volume = Volume(names.new_id(), "p", "u", size=1, status="available", host="new", backend="b", pool="p")
        repositories.volumes.insert(conn, volume)
        move = Move(volume.id, names.new_id(), 1, "old", "b", "p", volume_type_id=None, switched=switched)
        repositories.moves.insert(conn, move)
        hosts.declare_lost(conn, "new")
    assert finish_moves(app, "old") == (0 if switched else 1)
    with app.database.write() as conn:
        assert hosts.let_return(conn, "new")
    assert finish_moves(app, "old") == (1 if switched else 0)
