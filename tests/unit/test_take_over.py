"""A lost host of a cluster whose storage another host takes over: its operations, and the rows of clusters."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from crossing import meeting
from hypothesis import given, settings
from hypothesis import strategies as st
from plans_of_hosts import PLANS
from several_hosts import HOSTS, Plan, StepPlan, World
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.backends import fencing
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.entities import Move, StorageBackend, Volume
from nbdsvc.model.groups import Group
from nbdsvc.model.operation import Operation
from nbdsvc.store import backends, claims, clusters, groups, host_tables, hosts, moves, promises, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.units import GiB
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.in_cluster import MIGRATE_IN_CLUSTER

LOST, TAKER = "two", "one"


@settings(max_examples=15)
@given(st.lists(PLANS, min_size=1, max_size=3), st.integers(0, 12))
def test_operations_go_on_at_the_taker(database: Database, tmp_path: Path, plans: list[Plan], moments: int) -> None:
    """Whenever it is lost: nothing of its storage ends before the word; then each operation ends once, and what succeeds was
    done whole, what fails is undone whole and in order, on the lost host's storage too; locks hold throughout."""
    world = World(database, tmp_path, cluster="k")
    ids = [world.submit(plan) for plan in plans]
    for host in HOSTS:
        world.start(host, moments if host == LOST else None)
    try:
        wait_until(lambda: not (world.lives[LOST].held and world.unfinished()), 60)
        world.lose(LOST)
        assert world.settle(LOST) == 0
        world.take_over(LOST, TAKER)
        wait_until(
            lambda: world.settle(LOST) == 0 and not world.unfinished(), 60, lambda: list(map(world.operation, ids))
        )
    finally:
        world.stop()
    assert not world.faults
    for id, plan in zip(ids, plans, strict=True):
        ended = world.operation(id)
        assert len(world.ends(id)) == 1
        assert world.done[id] == {
            i
            for i, step in enumerate(plan.steps)
            if step.needed and (ended.state == model.SUCCEEDED or (i in world.done[id] and not step.undo))
        }


def test_what_is_handed_to_a_lost_host_goes_to_its_taker(database: Database, tmp_path: Path) -> None:
    """Also later, by a host that knows nothing of the take-over; what cannot be undone goes on; who returns has its own."""
    world = World(database, tmp_path, cluster="k")
    forward = world.plan(Plan("three", (StepPlan(), StepPlan(LOST, late=True), StepPlan(late=True))))
    back = world.plan(Plan("three", (StepPlan(), StepPlan(f"{LOST}@c"))))
    world.start(LOST, 0)
    world.lose(LOST)
    world.take_over(LOST, TAKER)
    for host in ("one", "three"):
        world.start(host)
    world.insert(forward)
    world.insert(back)
    wait_until(lambda: world.settle(LOST) == 0 and not world.unfinished(), 30)
    world.stop()
    assert [world.operation(id).state for id in (forward, back)] == [model.SUCCEEDED, model.FAILED]
    assert "declared lost" in str(world.operation(back).error)
    assert world.done[back] == set()
    assert not world.faults
    with database.write() as conn:
        clusters.forget_take_overs(conn, LOST)
        assert clusters.heir(conn, LOST, "b") is None


def test_who_waits_for_a_take_over(database: Database, tmp_path: Path) -> None:
    """As long as another host of the cluster is not lost; an operation on the host itself ends at once."""
    world = World(database, tmp_path, cluster="k")
    id = world.plan(Plan(LOST, (StepPlan(),)))
    world.start(LOST, 0)
    world.insert(id)
    world.lose(LOST)
    assert world.settle(LOST) == 0
    with database.write() as conn:
        about_host = Operation(names.new_id(), id, LOST, "p", "host", names.new_id(), {}, [], backend="b")
        journal.insert(conn, about_host)
    assert world.settle(LOST) == 1
    assert world.unfinished() == [id]
    with database.write() as conn:
        for host in HOSTS:
            hosts.declare_lost(conn, host)
    assert world.settle(LOST) == 1
    assert not world.unfinished()


def member(host: str, cluster: str = "k", name: str = "b") -> StorageBackend:
    return StorageBackend(names.new_id(), host, name, working=False, cluster=cluster)


def join(database: Database, host: str, storage: dict[str, str], driver: str = "File", **given: str) -> None:
    with database.write() as conn:
        clusters.join(database, conn, member(host, **given), driver, storage)


def test_one_storage_has_one_name(database: Database) -> None:
    """Another driver, another storage of a pool's name, and a storage that has another name already are refused, before the
    backend has reported too; a pool that comes later is added; who is alone may describe its cluster anew."""
    join(database, "one", {"p": "1"})
    join(database, "two", {"p": "1", "q": "2"})
    for host, storage, more, reason in (
        ("three", {"p": "3"}, {}, "is storage 1 on one, two, and 3 here"),
        ("three", {"q": "3"}, {}, "is storage 2 on one, two, and 3 here"),
        ("three", {"r": "1"}, {}, "is the storage of k@b#p too"),
        ("three", {"p": "1"}, {"name": "c"}, "is the storage of k@b#p too"),
        ("three", {"p": "1"}, {"cluster": "other"}, "is the storage of k@b#p too"),
        ("three", {"p": "1"}, {"driver": "Memory"}, "has driver File on one, two, and Memory here"),
    ):
        with pytest.raises(errors.Conflict, match=reason):
            join(database, host, storage, **more)
    join(database, "four", {"s": "9"}, cluster="alone")
    join(database, "four", {"s": "10"}, cluster="alone", driver="Memory")
    with database.read() as conn:
        assert [row.host for row in clusters.members(conn, "k@b")] == ["one", "two"]
        found = clusters.find(conn, "k@b")
        assert found is not None
        assert found.storage == {"p": "1", "q": "2"}
        assert clusters.hosts_of(conn, "one", "b") == ["one", "two"]
        assert clusters.hosts_of(conn, "five", "b") == ["five"]
        assert clusters.is_same_storage(conn, "one@b#p", "two@b#p")
        assert not clusters.is_same_storage(conn, "one@b#p", "two@b#q")
        assert not clusters.is_same_storage(conn, "one@b#p", "four@b#p")
    join(database, "four", {"p": "1"})
    with database.read() as conn:
        assert clusters.find(conn, "alone@b") is None


def test_who_is_alone_keeps_the_storage_of_its_volumes(database: Database) -> None:
    """A host that starts before its folder is mounted has a new pool there: it is not taken for the cluster's. That of which a
    volume's second place is in is kept too; one without volumes may be another."""
    join(database, "one", {"p": "1", "q": "2", "r": "3"})
    with database.write() as conn:
        placed = Volume(names.new_id(), "p", "u", 1, "available", "one", "", "p")  # of an older version
        repositories.volumes.insert(conn, placed)
        repositories.moves.insert(conn, Move(placed.id, names.new_id(), 1, "one", "b", "q", None))
    for storage in ({"p": "9", "q": "2", "r": "3"}, {"p": "1", "q": "9", "r": "3"}):
        with pytest.raises(errors.Conflict, match="and is 9 now: mount the same one"):
            join(database, "one", storage)
    join(database, "one", {"p": "1", "q": "2", "r": "9"})
    with database.read() as conn:
        found = clusters.find(conn, "k@b")
    assert found is not None
    assert found.storage == {"p": "1", "q": "2", "r": "9"}


def claim(conn: sa.Connection, host: str) -> None:
    """Of a process on another machine, which has given its last sign of life."""
    said = {"machine": "other", "pid": 1, "started": "1", "beat": 7, "seconds": 0.0, "note": "other"}
    conn.execute(host_tables.host_claims.insert().values(host=host, instance="i", **said))


def test_a_process_that_wakes_before_the_word_keeps_its_host(database: Database) -> None:
    """It was silent and then beats again, before the declaration has taken its claim: it is not lost. One that stays silent
    is, and so is a host that no process claims."""
    with database.write() as conn:
        claim(conn, LOST)
    holder = claims.silent_holder(database, LOST)
    with database.write() as conn:
        conn.execute(host_tables.host_claims.update().values(beat=8))
        with pytest.raises(errors.Conflict, match="serves it now"):
            claims.forget_silent(conn, LOST, holder)
        with pytest.raises(errors.Conflict, match="serves it now"):
            claims.forget_silent(conn, LOST, None)
    holder = claims.silent_holder(database, LOST)
    with database.write() as conn:
        claims.forget_silent(conn, LOST, holder)
        claims.forget_silent(conn, LOST, holder)
        assert claims.listed(conn) == []


def volume(host: str, **given: object) -> Volume:
    return Volume(names.new_id(), "p", "u", 2, "available", host, "b", "p", **given)  # type: ignore[arg-type]


def test_rows_go_to_the_taker(database: Database) -> None:
    """Volumes and second places of that backend, but none that only the lost host can tell where it is; other backends stay.
    What is promised of a shared pool is counted once, wherever its volumes are served."""
    join(database, "one", {"p": "1"})
    join(database, "two", {"p": "1"})
    with database.write() as conn:
        backends.report(conn, "two", "local", "nova", [])
        kept, moved, other = volume("two"), volume("two"), volume("one")
        local = Volume(names.new_id(), "p", "u", 1, "available", "two", "local", "l")
        for each in (kept, moved, other, local):
            repositories.volumes.insert(conn, each)
        repositories.moves.insert(conn, Move(local.id, names.new_id(), 1, "two", "b", "p", None))
        assert promises.of_pool(conn, "one@b#p") == promises.of_pool(conn, "two@b#p") == 7 * GiB
        settled = promises.settled(conn, "one", "b")
        assert {id for id, _, _ in settled} == {kept.id, moved.id, other.id}
        assert clusters.move_rows(conn, "two", "b", "one", {kept.id}) == 1
        places = {each.id: each.host for each in repositories.volumes.select(conn)}
        assert places == {kept.id: "two", moved.id: "one", other.id: "one", local.id: "two"}
        assert [each.host for each in repositories.moves.select(conn)] == ["one"]
        assert promises.of_pool(conn, "one@b#p") == 7 * GiB


@pytest.mark.parametrize("kind_of_database", ["postgresql"])  # SQLite has one writer at a time
def test_a_take_over_waits_for_no_request_that_waits_for_it(database: Database) -> None:
    """It holds rows in the order in which requests do: a group, then its volumes by their ids."""
    join(database, "two", {"p": "1"})
    small, great = sorted((volume("two"), volume("two")), key=lambda each: each.id)
    group = Group(names.new_id(), "p", "u", "available", "two", "b", names.new_id(), [])
    with database.write() as conn:
        for each in (great, small):
            repositories.volumes.insert(conn, each)
        groups.groups.insert(conn, group)

    def take_over() -> int:
        with database.write() as conn:
            return clusters.move_rows(conn, "two", "b", "one")

    firsts = (
        partial(groups.groups.get_for_update, id=group.id),
        partial(repositories.volumes.get_for_update, id=small.id),
    )
    for first in firsts:
        with meeting(database, first, take_over) as (conn, taken):
            repositories.volumes.get_for_update(conn, great.id)
        assert taken.result() == 2
        with database.write() as conn:
            clusters.move_rows(conn, "one", "b", "two")


@pytest.mark.parametrize(
    ("state", "cursor", "switched", "undecided"),
    [
        (model.RUNNING, 2, False, False),
        (model.RUNNING, 3, False, True),
        (model.RUNNING, 3, True, False),
        (model.UNDOING, 2, False, True),
        (model.UNDOING, 0, False, False),
    ],
)
def test_where_only_the_lost_host_knows(
    database: Database, state: str, cursor: int, switched: bool, undecided: bool
) -> None:
    """Of a volume in use whose server may have taken it to its second place before the rows said so."""
    with database.write() as conn:
        moving = volume("two")
        repositories.volumes.insert(conn, moving)
        operation = Operation(
            names.new_id(), "volume.migrate_in_use", "two", "p", "volume", moving.id, {}, [], state=state, cursor=cursor
        )
        journal.insert(conn, operation)
        repositories.moves.insert(conn, Move(moving.id, operation.id, 2, "two", "c", "p", None, switched=switched))
        assert moves.undecided(conn, "two") == ({moving.id} if undecided else frozenset())


@pytest.mark.parametrize(
    ("noun", "args", "waits"),
    [
        ("group", {"group_id": "g"}, True),
        ("group_snapshot", {"group_snapshot_id": "s"}, True),
        ("backup", {"backup_id": "b", "volume_id": "v"}, True),
        ("backup", {"backup_id": "b"}, False),
    ],
)
def test_what_is_on_the_storage_waits(
    database: Database, tmp_path: Path, noun: str, args: dict[str, str], waits: bool
) -> None:
    """Groups, and what is made of a volume, do not end with a host whose storage others see: their objects are there."""
    world = World(database, tmp_path, cluster="k")
    id = world.plan(Plan(LOST, (StepPlan(),)))
    world.start(LOST, 0)
    world.lose(LOST)
    operation = Operation(names.new_id(), id, LOST, "p", noun, names.new_id(), dict(args), [], backend="b")
    with database.write() as conn:
        journal.insert(conn, operation)
    assert world.settle(LOST) == (0 if waits else 1)
    if waits:
        world.take_over(LOST, TAKER)
        assert world.settle(LOST) == 1
        with database.read() as conn:
            assert journal.rows.get(conn, operation.id).step_host == TAKER


def test_a_migration_whose_destination_has_left_the_cluster_stays(database: Database) -> None:
    """It may have waited for long, and the other host has other storage by now: the volume stays where its bytes are."""
    for host in ("one", "two"):
        join(database, host, {"p": "1"})
    moving = volume("one", migration_status="starting")
    args = MoveArgs(moving.id, source="one@b", destination="two@b")
    operation = Operation(
        names.new_id(), "volume.migrate_in_cluster", "one", "p", "volume", moving.id, {}, [], state=model.RUNNING
    )
    with database.write() as conn:
        repositories.volumes.insert(conn, moving)
        journal.insert(conn, operation)
        backends.report(conn, "two", "b", "nova", [], cluster="")
    run: Any = SimpleNamespace(environment=SimpleNamespace(database=database), id=operation.id, args=args)
    with pytest.raises(errors.BackendUnavailable, match="does not see the storage"):
        MIGRATE_IN_CLUSTER.steps[1].do(run)
    join(database, "two", {"p": "1"})
    MIGRATE_IN_CLUSTER.steps[1].do(run)
    with database.read() as conn:
        assert repositories.volumes.get(conn, moving.id).host == "two"


class Transport:
    """An exporter as far as the end of its exports needs it; `broken` can neither be listed nor removed."""

    def __init__(self, *exports: str, broken: str = "") -> None:
        self.exports, self.broken = list(exports), broken

    def inventory(self) -> SimpleNamespace:
        if self.broken == "all":
            raise errors.ExportFailed(export=self.broken, reason="it cannot be listed")
        return SimpleNamespace(exports=list(self.exports))

    def remove(self, id: str) -> None:
        if id == self.broken:
            raise errors.ExportFailed(export=id, reason="it cannot be ended")
        self.exports.remove(id)


def test_one_export_that_does_not_end_keeps_no_other_one(database: Database) -> None:
    """All of a lost host's others end, of every transport, before the error."""
    with database.write() as conn:
        hosts.declare_lost(conn, "h")
    transports = [Transport("1", broken="all"), Transport("2", "3", broken="2"), Transport("4")]
    host: Any = SimpleNamespace(name="h", database=database, exporters=transports)
    with pytest.raises(errors.ExportFailed):
        fencing.end_foreign_exports(host)
    assert [each.exports for each in transports] == [["1"], ["2"], []]
