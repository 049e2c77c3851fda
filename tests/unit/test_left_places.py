"""What a move left at a volume's second place, and when that is removed; on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.config import Settings
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Move, Volume, VolumeType
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Operation
from nbdsvc.operations.client import Operations
from nbdsvc.store import backends, hosts, moves, promises, repositories, transfers
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.types.encryption import create_encryption
from nbdsvc.units import GiB
from nbdsvc.volumes.moves.left import finish_moves
from nbdsvc.volumes.source import find_source


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
    """A volume is on a host that was declared lost: its source stays until that host has returned with it. A destination goes
    at once.
    """
    with app.database.write() as conn:
        volume = Volume(names.new_id(), "p", "u", size=1, status="available", host="new", backend="b", pool="p")
        repositories.volumes.insert(conn, volume)
        move = Move(volume.id, names.new_id(), 1, "old", "b", "p", volume_type_id=None, switched=switched)
        repositories.moves.insert(conn, move)
        hosts.declare_lost(conn, "new")
    assert finish_moves(app, "old") == (0 if switched else 1)
    with app.database.write() as conn:
        assert hosts.let_return(conn, "new")
    assert finish_moves(app, "old") == 0  # whether it has the volume is known when it has started
    with app.database.write() as conn:
        hosts.identify(conn, "new", "a machine")
        repositories.volumes.force_status(conn, volume.id, "error")  # it has not
    assert finish_moves(app, "old") == 0
    with app.database.write() as conn:
        repositories.volumes.force_status(conn, volume.id, "available")
    assert finish_moves(app, "old") == (1 if switched else 0)


def volume_at(conn: sa.Connection, host: str, **given: Any) -> Volume:
    made = Volume(names.new_id(), "p", "u", size=1, status="available", host=host, backend="b", pool="p", **given)
    repositories.volumes.insert(conn, made)
    return made


def test_a_migration_that_began_since_the_volume_was_read_is_ended(app: App) -> None:
    """On PostgreSQL it may: the command that needs the volume ends it, and is refused where the volume has moved already."""
    with app.database.write() as conn:
        seen = volume_at(conn, "old")
        needed = locks("volume.delete", volume=seen.id)
        migration = Operation(
            names.new_id(), "volume.migrate", "old", "p", "volume", seen.id, {"lock_volume": False}, []
        )
        App.end_move(conn, seen, needed)
        journal.insert(conn, migration)
        moves.change_status(conn, seen.id, "begin")
        App.end_move(conn, seen, needed)
        assert journal.rows.get(conn, migration.id).cancel_requested
        repositories.volumes.update(conn, seen.id, host="new")
        with pytest.raises(errors.Conflict, match="has just been moved"):
            App.end_move(conn, seen, needed)


def test_a_migration_waits_for_the_clone_that_has_read_its_volume(app: App) -> None:
    """On PostgreSQL it could begin in the middle of the clone's request, whose operation would look for the bytes where they
    were. Clones do not wait for each other.
    """
    if app.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    with app.database.write() as conn:
        seen = volume_at(conn, "old")
    order: list[str] = []

    def begin() -> None:
        with app.database.write() as conn:
            repositories.volumes.get_for_update(conn, seen.id)
            order.append("migration")

    with ThreadPoolExecutor(1) as pool:
        with app.database.write() as conn:
            assert find_source(conn, "p", None, seen.id)
            with app.database.write() as other:
                assert find_source(other, "p", None, seen.id)
            migration = pool.submit(begin)
            time.sleep(0.2)
            order.append("clone")
        migration.result(30)
    assert order == ["clone", "migration"]


def test_a_volume_that_another_project_has_accepted_since_it_was_read_is_not_found(app: App) -> None:
    """On PostgreSQL it may: the former owner's request was in the middle, and neither begins an operation nor locks the row."""
    with app.database.write() as conn:
        seen = volume_at(conn, "old")
        assert repositories.volumes.get_for_update(conn, seen.id, "p") == seen
        transfers.change_owner(conn, seen.id, [], "q", "v")
        with pytest.raises(errors.NotFound):
            App.end_move(conn, seen, locks("volume.delete", volume=seen.id))
        with pytest.raises(errors.NotFound):
            repositories.volumes.get_for_update(conn, seen.id, "p")


def test_a_type_that_a_volume_is_being_given_is_not_encrypted(app: App) -> None:
    """The volume is in the clear, and has the type only from the switch of its retype on."""
    kind = VolumeType(names.new_id(), "k", is_public=True)
    with app.database.write() as conn:
        repositories.volume_types.insert(conn, kind)
        volume = volume_at(conn, "old")
        repositories.moves.insert(conn, Move(volume.id, names.new_id(), 1, "new", "b", "p", volume_type_id=kind.id))
    with pytest.raises(errors.InvalidInput, match="1 volumes have this type or are being given it"):
        create_encryption(app, kind.id, {"provider": "luks"})
