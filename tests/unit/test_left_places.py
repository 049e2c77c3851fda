"""What a move left at a volume's second place, and when that is removed; on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import recognition
from nbdsvc.backends.lost_host import settle_lost
from nbdsvc.config import Settings
from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Attachment, Move, StorageBackend, Volume, VolumeType
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Operation
from nbdsvc.operations.client import Operations
from nbdsvc.store import backends, clusters, hosts, lost_places, moves, promises, repositories, transfers
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.types.encryption import create_encryption
from nbdsvc.units import GiB
from nbdsvc.volumes.moves.left import finish_moves
from nbdsvc.volumes.moves.submit import check_nothing_stays
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


def test_a_command_for_a_snapshot_ends_the_migration_that_takes_it_along(app: App) -> None:
    """Else it would be done by the host that its volume leaves. One for another snapshot does not concern it."""
    with app.database.write() as conn:
        seen, snapshot = volume_at(conn, "old", migration_status="starting"), names.new_id()
        args = {"lock_volume": False, "snapshot_ids": [snapshot]}
        migration = Operation(
            names.new_id(), "volume.migrate_in_cluster", "old", "p", "volume", seen.id, args, [], backend="b"
        )
        journal.insert(conn, migration)
        App.end_move(conn, seen, locks("snapshot.delete", snapshot=names.new_id()))
        assert not journal.rows.get(conn, migration.id).cancel_requested
        App.end_move(conn, seen, locks("snapshot.delete", snapshot=snapshot))
        assert journal.rows.get(conn, migration.id).cancel_requested


@pytest.mark.parametrize("kind_of_database", ["postgresql"])  # SQLite has one writer at a time
def test_a_migration_waits_for_the_clone_that_has_read_its_volume(app: App) -> None:
    """On PostgreSQL it could begin in the middle of the clone's request, whose operation would look for the bytes where they
    were. Clones do not wait for each other.
    """
    with app.database.write() as conn:
        seen = volume_at(conn, "old")
    order: list[str] = []

    def begin() -> None:
        with app.database.write() as conn:
            repositories.volumes.get_for_update(conn, seen.id)
            order.append("migration")

    with ThreadPoolExecutor(1) as pool:
        with app.database.write() as conn:
            assert find_source(conn, "p", None, seen.id, hold=True)
            with app.database.write() as other:
                assert find_source(other, "p", None, seen.id, hold=True)
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


def moved(conn: sa.Connection, volume: Volume, host: str, kind: str, state: str, **given: Any) -> Move:
    """The row of a second place on this host, of an operation that ended."""
    operation = Operation(names.new_id(), kind, host, "p", "volume", volume.id, {}, [], state=state)
    journal.insert(conn, operation)
    return repositories.moves.insert(
        conn, Move(volume.id, operation.id, 1, host, "b", "q", volume_type_id=None, **given)
    )


@pytest.mark.parametrize("shared", [True, False])
def test_what_an_older_version_wrote_of_a_lost_host_waits_for_its_heir(app: App, shared: bool) -> None:
    """A host's only backend has an empty name in its rows: they are of that backend, whose storage another host sees or not."""
    with app.database.write() as conn:
        if shared:
            for host in ("old", "peer"):
                member = StorageBackend(names.new_id(), host, "b", working=True, cluster="k")
                clusters.join(app.database, conn, member, "File", {"p": "1"})
        volume = Volume(names.new_id(), "p", "u", 1, "in-use", "old", "", "p")
        repositories.volumes.insert(conn, volume)
        attached = Attachment(names.new_id(), volume.id, "p", "attached")
        repositories.attachments.insert(conn, attached)
        ended = Operation(names.new_id(), "volume.migrate", "old", "p", "volume", volume.id, {}, [], state="failed")
        journal.insert(conn, ended)
        repositories.moves.insert(conn, Move(volume.id, ended.id, 1, "old", "", "q", None))
        hosts.declare_lost(conn, "old")
    settle_lost(app)
    with app.database.read() as conn:
        assert repositories.attachments.get(conn, attached.id).status == ("attached" if shared else "detaching")
        assert bool(repositories.moves.find(conn, volume.id)) == shared


def test_what_a_lost_host_has_of_a_deleted_volume_is_known(app: App) -> None:
    """Else the host would be refused for it when it starts again, or get a volume of it by `rebuild`."""
    with app.database.write() as conn:
        gone = volume_at(conn, "here")
        lost_places.remember(conn, moved(conn, gone, "old", "volume.migrate", "failed"))
        repositories.volumes.delete(conn, gone.id)
    found = [BackendObject("volume", id, "o", f"volume-{id}", GiB, "q") for id in (gone.id, names.new_id())]
    host: Any = SimpleNamespace(name="old", database=app.database)
    backend: Any = SimpleNamespace(driver=SimpleNamespace(list_objects=lambda: found))
    assert recognition.unknown_objects(host, backend) == found[1:]


def lose(app: App, host: str) -> None:
    with app.database.write() as conn:
        hosts.declare_lost(conn, host)
    settle_lost(app)


@pytest.mark.parametrize("switched", [True, False])
def test_what_a_move_left_on_a_lost_host_is_removed_when_that_returns(app: App, switched: bool) -> None:
    """It keeps the volume from nothing while the host is lost, also from moves that leave something on another lost host."""
    with app.database.write() as conn:
        volume = volume_at(conn, "here")
        first = moved(conn, volume, "old", "volume.migrate_between_hosts", "rollback_failed", switched=switched)
    lose(app, "old")
    with app.database.write() as conn:
        assert not repositories.moves.find(conn, volume.id)
        check_nothing_stays(conn, volume, "be migrated")
        second = moved(conn, volume, "older", "volume.migrate_between_hosts", "rollback_failed")
    lose(app, "older")
    assert finish_moves(app, "old") == 0
    with app.database.write() as conn:  # as the return of the host does
        hosts.let_return(conn, "old")
        hosts.identify(conn, "old", "a machine")
    assert finish_moves(app, "old") == 1
    with app.database.read() as conn:
        assert repositories.moves.find(conn, volume.id) == first
        assert lost_places.of_host(conn, "old") == []
        assert lost_places.of_host(conn, "older") == [second]


def test_a_place_at_which_the_volume_is_by_now_is_forgotten(app: App) -> None:
    """And that of a volume that is moved waits; that of one that is deleted is removed."""
    with app.database.write() as conn:
        here, moving, gone = (volume_at(conn, "old") for _ in range(3))
        for each in (here, moving, gone):
            lost_places.remember(conn, moved(conn, each, "old", "volume.migrate", "failed"))
        repositories.volumes.update(conn, here.id, pool="q")
        other = moved(conn, moving, "new", "volume.migrate_between_hosts", "running")
        repositories.volumes.delete(conn, gone.id)
    finish_moves(app, "old")
    with app.database.read() as conn:
        assert [each.id for each in lost_places.of_host(conn, "old")] == [moving.id]
        assert repositories.moves.find(conn, here.id) is None
        assert repositories.moves.find(conn, moving.id) == other
        assert repositories.moves.get(conn, gone.id).host == "old"


def test_a_place_from_which_another_host_serves_the_volume_is_forgotten(app: App) -> None:
    """Hosts of a cluster see one object: what a move left on the one that returns is what the other serves."""
    with app.database.write() as conn:
        for host in ("old", "peer"):
            member = StorageBackend(names.new_id(), host, "b", working=True, cluster="k")
            clusters.join(app.database, conn, member, "File", {"p": "1", "q": "2"})
        here = volume_at(conn, "peer")
        place = replace(moved(conn, here, "old", "volume.migrate_between_hosts", "failed"), pool=here.pool)
        lost_places.remember(conn, place)
    assert finish_moves(app, "old") == 0
    with app.database.read() as conn:
        assert lost_places.of_host(conn, "old") == []
        assert repositories.moves.find(conn, here.id) is None


@pytest.mark.parametrize(("kind", "state", "is_open"), [
    ("volume.migrate_in_use", "failed", True),  # its host was lost
    ("volume.migrate_in_use", "rollback_failed", False),  # that host has looked
    ("volume.migrate", "failed", False),  # no server has switched
    ("forgotten", "failed", True),
])  # fmt: skip
def test_a_volume_that_a_server_may_have_taken_elsewhere_is_not_used(
    app: App, kind: str, state: str, is_open: bool
) -> None:
    """From the return of its host until that has looked at the server's record."""
    with app.database.write() as conn:
        volume = volume_at(conn, "old", migration_status="error")
        move = moved(conn, volume, "old", kind, state)
        if kind == "forgotten":
            repositories.moves.update(conn, volume.id, operation_id=names.new_id())
        needed = locks("volume.extend", volume=volume.id)
        if is_open:
            with pytest.raises(errors.Conflict, match=f"may have been taken to {move.full_host}"):
                App.end_move(conn, volume, needed)
        else:
            App.end_move(conn, volume, needed)
        repositories.moves.delete(conn, volume.id)
        App.end_move(conn, volume, needed)
