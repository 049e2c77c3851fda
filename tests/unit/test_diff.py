"""The differences as a pure function of what was seen: on facts that are made up here."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.explain.diff import KINDS, OF_ROWS, OF_STORAGE, diff
from nbdsvc.explain.facts import Device, Export, Facts, LockFile
from nbdsvc.explain.first_seen import FirstSeen
from nbdsvc.explain.host_fixes import HOST_FIXES
from nbdsvc.explain.row_fixes import ROW_FIXES, failed_status
from nbdsvc.model import names, states
from nbdsvc.model.entities import Attachment, Move, Snapshot, StorageBackend, Volume
from nbdsvc.units import GiB

POOL = PoolStats("p", 100 * GiB, 50 * GiB, 0, 0, 0)
ROW = StorageBackend("1", "h", "b")
IDS = [names.new_id() for _ in range(6)]
EMPTY = Facts(host="h", backends=(ROW,), configured=frozenset({"b"}), objects={"b": ()}, pools={"b": (POOL,)})


def volume(id: str, status: str = "available", **fields: Any) -> Volume:
    return Volume(id, "p1", "u", fields.pop("size", 1), status, "h", "b", fields.pop("pool", "p"), **fields)


def object_of(id: str, kind: str = "volume", **fields: Any) -> BackendObject:
    given = {"owner": "o", "name": f"{kind}-{id}", "size": GiB, "pool": "p", **fields}
    return BackendObject(kind, id, **given)


def keys(facts: Facts) -> list[str]:
    return [found.key for found in diff(facts)]


def test_what_is_mended_and_what_says_so_are_the_same() -> None:
    """Every kind that says what --fix does has a fix, and no other has; each kind is listed once."""
    assert {kind.id for kind in KINDS if kind.fix} == HOST_FIXES.keys() | ROW_FIXES.keys()
    assert not HOST_FIXES.keys() & ROW_FIXES.keys()
    assert len({kind.id for kind in KINDS}) == len(KINDS) == len(OF_STORAGE) + len(OF_ROWS)
    assert len(KINDS) >= 30


def test_a_device_without_its_attachment_is_named() -> None:
    """A device of this host that the service made of one of its volumes, and of no other one's."""
    facts = replace(EMPTY, volumes=(volume(IDS[0]),), objects={"b": (object_of(IDS[0]),)})
    mine, foreign = Device(IDS[0], IDS[1], "/dev/nbd0"), Device(IDS[2], IDS[1], "/dev/nbd1")
    (found,) = diff(replace(facts, devices=(mine, foreign)))
    assert (found.kind, found.id) == ("volume.device_left", IDS[0])
    assert "/dev/nbd0 of this host" in found.message


def test_what_a_move_left_here_of_another_hosts_volume_is_not_to_be_removed_by_hand() -> None:
    """It is removed by the service, or kept while it may be the last copy; of an object without a move that is not known."""
    there = replace(volume(IDS[0]), host="other")
    facts = replace(EMPTY, volumes=(there,), objects={"b": (object_of(IDS[0]),)})
    move = Move(IDS[0], IDS[1], 1, "h", "b", "p", volume_type_id=None, switched=True)
    left = replace(facts, moves=(move,))
    lost = replace(there, status="error")
    destination = replace(left, moves=(replace(move, switched=False),), missing=frozenset({"other"}))
    cases = {
        "object.left_behind": [facts, replace(left, moves=(replace(move, pool="q"),))],
        "object.left": [left, destination],
        "object.kept": [replace(left, missing=frozenset({"other"})), replace(left, volumes=(lost,))],
    }
    for kind, found in cases.items():
        for each in found:
            assert [one.kind for one in diff(each) if one.kind.startswith("object.")] == [kind]


def test_pools_that_run_full_are_named() -> None:
    """Metadata from 90 %, promises beyond the ratio; a pool without a number for its size is never full."""
    for changed, kind in (
        ({"metadata_percent": 90.0}, "pool.metadata_full"),
        ({"provisioned": 2001 * GiB}, "pool.promised"),
        ({"free": 0}, "pool.full"),
        ({"fault": "its disk is gone", "total": 0, "free": 0}, "pool.sick"),
    ):
        assert keys(replace(EMPTY, pools={"b": (replace(POOL, **changed),)})) == [f"{kind} h@b#p"]
    for limitless in ({"total": "infinite", "free": "infinite"}, {"total": "unknown", "free": "unknown"}):
        assert keys(replace(EMPTY, pools={"b": (replace(POOL, **limitless),)})) == []


def test_every_status_in_flight_has_an_end_for_one_without_an_operation() -> None:
    """The status of failure exists, and the store takes a row there."""
    for table, flight in (
        (states.VOLUME, states.VOLUME_IN_FLIGHT),
        (states.SNAPSHOT, states.SNAPSHOT_IN_FLIGHT),
        (states.GROUP, states.GROUP_IN_FLIGHT),
        (states.GROUP_SNAPSHOT, states.GROUP_SNAPSHOT_IN_FLIGHT),
        (states.BACKUP, states.BACKUP_IN_FLIGHT),
    ):
        for status in flight:
            end = failed_status(table, status)
            ends = states.BY_ATTACHMENTS if end == states.PREVIOUS else (end,)
            assert {(status, each) for each in ends} <= states.moves(table)


def test_nothing_is_said_of_a_pool_that_could_not_be_listed() -> None:
    """A backend that does not work, or hangs, is the only finding: not each of its volumes."""
    facts = replace(EMPTY, volumes=(volume(IDS[0]), volume(IDS[1], "available")))
    broken = replace(facts, objects={}, pools={}, faults={"b": "no such folder"})
    assert keys(broken) == ["backend.broken h@b"]
    assert keys(replace(facts, objects={}, pools={}, late=frozenset({"h@b"}))) == ["backend.silent h@b", "host.down h"]
    sick = replace(facts, pools={"b": (replace(POOL, fault="gone"), replace(POOL, name="q"))})
    assert keys(sick) == ["pool.sick h@b#p"]


def test_what_a_cluster_shares() -> None:
    """The object of a volume that another host of the cluster serves is no leftover; without a cluster it is. A host
    that is down or lost is named with its volumes, while another one that sees them is up."""
    other = StorageBackend("2", "o", "b")
    served = replace(volume(IDS[0]), host="o")
    alone = replace(EMPTY, volumes=(served,), objects={"b": (object_of(IDS[0]),)}, backends=(ROW, other))
    assert keys(alone) == [f"object.left_behind {IDS[0]}"]
    shared = replace(alone, backends=(replace(ROW, cluster="k"), replace(other, cluster="k")))
    assert keys(shared) == []
    assert keys(replace(shared, backends=(shared.backends[0], replace(other, cluster="l")))) == keys(alone)
    down = replace(shared, late=frozenset({"o@b"}))
    assert keys(down) == ["host.down o", "host.take_over o"]
    (_, found) = diff(down)
    assert "has 1 volumes on storage that host h of its cluster sees too" in found.message
    assert found.remedy == "nbdsvc host take-over o --fenced, once it is switched off"
    (lost,) = diff(replace(shared, lost=frozenset({"o"})))
    assert (lost.key, lost.remedy) == ("host.take_over o", "nbdsvc host take-over o")
    assert keys(replace(down, late=frozenset({"o@b", "h@b"}))) == ["backend.silent h@b", "host.down h", "host.down o"]


def test_the_first_look_dates_a_finding_until_it_is_gone() -> None:
    """A key keeps its time while it is found; another look that borrows has the time of the one that looks more often."""
    seen = FirstSeen()
    first = seen.note("often", ["a"])["a"]
    assert seen.note("often", ["a", "b"])["a"] == first
    assert seen.note("seldom", ["a"], borrow=True)["a"] == first
    seen.note("often", [])
    assert seen.note("often", ["a"])["a"] > first
    assert seen.note("seldom", ["a"], borrow=True)["a"] > first


STATUSES = sorted(states.VOLUME_STATUSES)
VOLUMES = st.builds(
    volume, st.sampled_from(IDS), st.sampled_from(STATUSES), size=st.integers(1, 3), pool=st.sampled_from("pq"),
    target_size=st.sampled_from([None, 5]), volume_type_id=st.sampled_from([None, "t"]),
)  # fmt: skip
SNAPSHOTS = st.builds(
    Snapshot, st.sampled_from(IDS), st.just("p1"), st.just("u"), st.sampled_from(IDS), st.just(1),
    st.sampled_from(sorted(states.SNAPSHOT_STATUSES)),
)  # fmt: skip
ATTACHMENTS = st.builds(
    Attachment, st.sampled_from(IDS), st.sampled_from(IDS), st.just("p1"), st.sampled_from(sorted(states.ATTACHMENT_STATUSES)),
    protocol=st.sampled_from([None, "nbd", "iscsi"]), exported=st.booleans(), legacy=st.booleans(),
)  # fmt: skip
OBJECTS = st.builds(
    object_of, st.sampled_from(IDS), st.sampled_from(["volume", "snapshot"]), size=st.integers(0, 4 * GiB),
    pool=st.sampled_from("pq"), owner=st.sampled_from([None, "o"]), origin=st.sampled_from([None, *IDS]),
)  # fmt: skip
EXPORTS = st.builds(
    Export, st.sampled_from(["nbd", "iscsi"]), st.sampled_from(IDS), st.booleans(), st.booleans(),
    st.sampled_from([None, "", "it is dead"]), st.sampled_from([None, frozenset(), frozenset({"iqn.x"})]),
)  # fmt: skip


def _once(strategy: Any) -> Any:
    """A list without two of one id."""
    return st.lists(strategy, max_size=4, unique_by=lambda row: row.id).map(tuple)


@st.composite
def facts(draw: Any) -> Facts:
    """Anything at all, right or wrong."""
    return replace(
        EMPTY,
        volumes=draw(_once(VOLUMES)),
        snapshots=draw(_once(SNAPSHOTS)),
        attachments=draw(_once(ATTACHMENTS)),
        objects={"b": tuple(draw(st.lists(OBJECTS, max_size=5)))},
        exports=tuple(draw(st.lists(EXPORTS, max_size=4))),
        orphans=tuple(draw(st.lists(st.tuples(st.just("iscsi"), st.sampled_from(IDS)), max_size=2))),
        digests=draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from(["", "damaged"]), max_size=3)),
        journals=tuple(draw(st.lists(st.sampled_from(IDS), max_size=2))),
        locks=tuple(draw(st.lists(st.builds(LockFile, st.sampled_from(IDS), st.sampled_from([0, 7])), max_size=2))),
        busy=frozenset(draw(st.lists(st.sampled_from(IDS)))),
    )


@given(facts())
def test_nothing_is_said_of_what_is_worked_on(seen: Facts) -> None:
    """Whatever was seen, no finding is about something that an operation works on."""
    assert {found.id for found in diff(seen)} & seen.busy == set()
    assert keys(replace(seen, busy=frozenset(IDS))) == []


@given(facts())
def test_it_is_a_function_and_its_sentences_are_whole(seen: Facts) -> None:
    """The same facts give the same findings; no key is there twice, and no sentence has a part that was not filled in."""
    found = diff(seen)
    assert found == diff(seen)
    assert len({each.key for each in found}) == len(found)
    for each in found:
        assert "{" not in each.message + each.remedy
        assert each.to_json()["key"] == each.key


@st.composite
def right(draw: Any) -> Facts:
    """Volumes with their objects, snapshots and attachments as they should be."""
    seen = EMPTY
    for id in IDS:
        attached = draw(st.sampled_from(["available", "in-use", "attaching", "reserved"]))
        rows = [volume(id, attached)]
        objects = [object_of(id, owner="o")]
        if draw(st.booleans()):
            snapshot = Snapshot(names.new_id(), "p1", "u", id, 1, "available")
            seen = replace(seen, snapshots=(*seen.snapshots, snapshot))
            objects.append(object_of(snapshot.id, "snapshot", origin=id))
        if attached != "available":
            status = {"in-use": "attached"}.get(attached, attached)
            row = Attachment(names.new_id(), id, "p1", status, protocol="nbd", exported=attached != "reserved")
            seen = replace(seen, attachments=(*seen.attachments, row))
            if row.exported:
                seen = replace(seen, exports=(*seen.exports, Export("nbd", row.id, present=True, fault="")))
        seen = replace(seen, volumes=(*seen.volumes, *rows), objects={"b": (*seen.objects["b"], *objects)})
    return seen


@given(right())
def test_what_is_right_is_no_finding(seen: Facts) -> None:
    """Volumes in any state, with objects and exports as their rows call for, give no finding."""
    assert keys(seen) == []
