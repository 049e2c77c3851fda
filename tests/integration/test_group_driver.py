"""Groups of a driver that keeps them itself: what it returns or raises, and what the rows are then (S107-S112)."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from backends import Backend
from grouping import Groups
from replicated import OPTIONS
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

GROUPED = Backend(settings={"driver": "memory-grouped", "driver_options": OPTIONS})


@pytest.fixture(scope="module")
def module_groups(module_service: Callable[..., ServiceProcess]) -> Groups:
    """The status of replicas is read at its start only: what an operation says of them stays."""
    return Groups(module_service(backend=GROUPED, default_group_type="dflt", repair_interval=3600))


@pytest.fixture
def groups(module_groups: Groups) -> Iterator[Groups]:
    """All that a test has made can be deleted when nothing fails any more, whatever status it has."""
    yield module_groups
    plan(module_groups)
    for noun in ("group_snapshots", "groups"):
        for each in module_groups.good("GET", noun)[noun]:
            path = f"{noun}/{each['id']}"
            if noun == "groups":
                module_groups.good("POST", f"{path}/action", {"delete": {"delete-volumes": True}})
            else:
                module_groups.good("DELETE", path)
            assert module_groups.rest(noun, each["id"]) == "gone"
    for each in module_groups.good("GET", "volumes")["volumes"]:
        module_groups.good("POST", f"volumes/{each['id']}/action", {"os-force_delete": {}})
    module_groups.service.settle()
    assert module_groups.service.leftovers() == []


def plan(groups: Groups, **verbs: Any) -> None:
    """A class of errors to raise, or a pair: the status of the whole, and those of the entries."""
    planned: dict[str, list[dict[str, Any]]] = {}
    for verb, what in verbs.items():
        if isinstance(what, str):
            planned[verb] = [{"error": what}]
            continue
        for name, value in zip(("status", "entries"), what, strict=True):
            planned |= {f"{verb} {name}": [{"returns": value}]} if value is not None else {}
    Faults(groups.service.state / "pool", "file").plan(planned)


def parts(groups: Groups, whole: str) -> list[str]:
    return [each["status"] for each in groups.snapshots_of(whole)]


@pytest.mark.row("S037", "S107")
@pytest.mark.parametrize("what", ["DeviceBusy", "ValueError", ("error", None)])
def test_a_creation_that_fails(groups: Groups, what: Any) -> None:
    """An error of any class, or the status `error`: the group is `error`, and can be deleted."""
    plan(groups, create_consistencygroup=what)
    groups.group(wanted="error")


def test_a_creation_that_ends_without_a_word(groups: Groups) -> None:
    """The driver has made the group and then fails: it is taken back."""
    Faults(groups.service.state / "pool", "file").plan(
        {"create_consistencygroup": [{"when": "after", "error": "DeviceBusy"}]}
    )
    groups.group(wanted="error")
    assert not list((groups.service.state / "pool" / "groups").iterdir())


def _cancelled(groups: Groups, verb: str, noun: str, body: dict[str, Any]) -> str:
    """What the driver was making when it was cancelled."""
    pool = groups.service.state / "pool"
    Faults(pool, "file").plan({verb: [{"when": "after", "error": None, "delay": 2, "times": 1}]})
    made = str(groups.good("POST", noun, body)[noun[:-1]]["id"])
    part = made if noun == "groups" else groups.snapshots_of(made)[0]["id"]
    wait_until(lambda: bool(list(pool.glob(f"*/*{part}"))), 20)
    groups.service.client().act("operations", groups.service.client().operation_of(made)["id"], "cancel")
    return made


def test_a_cancel_of_a_creation_comes_too_late(groups: Groups) -> None:
    """The group that the driver is making then is made: else the backend would have what no good row has."""
    body = {"group": {"group_type": groups.type(), "volume_types": ["__DEFAULT__"]}}
    made = _cancelled(groups, "create_consistencygroup", "groups", body)
    assert groups.rest("groups", made) == "available"


def test_a_group_snapshot_that_is_cancelled(groups: Groups) -> None:
    """What the driver has made of it is removed."""
    group = groups.group(2)
    whole = _cancelled(groups, "create_cgsnapshot", "group_snapshots", {"group_snapshot": {"group_id": group}})
    assert groups.rest("group_snapshots", whole) == "error"
    assert parts(groups, whole) == ["error"] * 2
    assert not list((groups.service.state / "pool" / "snapshots").iterdir())


def test_what_could_not_be_managed_is_not_deleted(groups: Groups) -> None:
    """Its object is not ours; the group stays with it."""
    group = groups.group(1)
    (volume,) = groups.volumes_of(group)
    groups.good("POST", f"volumes/{volume}/action", {"os-reset_status": {"status": "error_managing"}})
    assert "error_managing" in groups.refused("POST", f"groups/{group}/action", {"delete": {"delete-volumes": True}})
    groups.good("POST", f"volumes/{volume}/action", {"os-reset_status": {"status": "available"}})


def test_all_is_well(groups: Groups) -> None:
    """Group, snapshot and copies by the driver's own calls; what it returns of its volumes is kept."""
    group = groups.group(2)
    whole = groups.snapshot(group)
    assert parts(groups, whole) == ["available"] * 2
    made = groups.from_source(group_snapshot_id=whole)
    assert groups.statuses(made) == ["available"] * 2
    noted = groups.service.state / "pool" / "groups"
    assert {path.name for path in noted.iterdir()} == {made, group}


@pytest.mark.row("S041", "S108")
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("DeviceBusy", ["error", "error"]),
        ("ValueError", ["error", "error"]),  # trap T6
        ((None, ["available", "error"]), ["available", "error"]),  # trap T7
        (("error", ["available", "available"]), ["available", "available"]),
        (("error", None), ["error", "error"]),
    ],
)
def test_a_group_snapshot_that_fails(groups: Groups, what: Any, expected: list[str]) -> None:
    """The whole is `error`; each snapshot is as its entry says, and `error` without one."""
    group = groups.group(2)
    plan(groups, create_cgsnapshot=what)
    whole = groups.snapshot(group, "error")
    assert parts(groups, whole) == expected


@pytest.mark.row("S042", "S109")
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("DeviceBusy", ["error", "error"]),
        ("ValueError", ["error", "error"]),
        ((None, ["deleted", "error_deleting"]), ["error_deleting"]),
        (("error_deleting", ["error", "deleted"]), ["error"]),
        (("error_deleting", None), ["error", "error"]),  # trap T8: error_deleting ends in error
    ],
)
def test_a_deletion_of_a_group_snapshot_that_fails(groups: Groups, what: Any, expected: list[str]) -> None:
    """The whole is `error`; what the driver says is deleted has no row any more."""
    whole = groups.snapshot(groups.group(2))
    plan(groups, delete_cgsnapshot=what)
    groups.good("DELETE", f"group_snapshots/{whole}")
    assert groups.rest("group_snapshots", whole) == "error"
    assert parts(groups, whole) == expected


@pytest.mark.row("S039", "S110")
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("DeviceBusy", ["error", "error"]),
        ("ValueError", ["error", "error"]),
        ((None, ["deleted", "error_deleting"]), ["error_deleting"]),
        (("error_deleting", None), ["error", "error"]),
    ],
)
def test_a_deletion_of_a_group_that_fails(groups: Groups, what: Any, expected: list[str]) -> None:
    """As of a group snapshot; quotas have what rows are left, and a second deletion ends it."""
    group = groups.group(2)
    plan(groups, delete_consistencygroup=what)
    groups.delete(group, "error")
    assert groups.statuses(group) == expected
    assert groups.used() == (1, len(expected), 0)


@pytest.mark.row("S038", "S111")
@pytest.mark.parametrize("fault", ["DeviceBusy", "ValueError"])
def test_a_group_from_a_source_that_fails(groups: Groups, fault: str) -> None:
    """The new group and all its volumes are `error`, the source is as it was."""
    group = groups.group(2)
    plan(groups, create_consistencygroup_from_src=fault)
    made = groups.from_source("error", source_group_id=group)
    assert groups.statuses(made) == ["error", "error"]
    assert (groups.rest("groups", group), groups.statuses(group)) == ("available", ["available"] * 2)


@pytest.mark.row("S040", "S112")
@pytest.mark.parametrize("what", ["DeviceBusy", "ValueError", ("error", None), (None, ["error"])])
def test_an_update_that_fails(groups: Groups, what: Any) -> None:
    """The group and every volume that was to join or to leave is `error`."""
    group, volume = groups.group(1), groups.volume()
    (inside,) = groups.volumes_of(group)
    plan(groups, update_consistencygroup=what)
    groups.update(group, "error", add_volumes=volume, remove_volumes=inside)
    assert [groups.rest("volumes", each) for each in (volume, inside)] == ["error", "error"]
    assert groups.volumes_of(group) == [inside]


@pytest.mark.row("S040")
def test_an_update_whose_volume_is_gone_by_then(groups: Groups) -> None:
    """The driver is not called and the group is not touched (trap T12)."""
    group, volume = groups.group(1), groups.volume()
    noted = groups.service.state / "pool" / "groups" / group
    before = noted.read_text()
    Faults(groups.service.state / "pool", "file").plan({"create_cgsnapshot": [{"delay": 2}]})
    whole = groups.good("POST", "group_snapshots", {"group_snapshot": {"group_id": group}})["group_snapshot"]["id"]
    groups.good("PUT", f"groups/{group}", {"group": {"add_volumes": volume}})
    with sqlite3.connect(f"{groups.service.state}/nbdsvc.db", timeout=30) as database:
        database.execute("DELETE FROM volumes WHERE id = ?", (volume,))
    assert (groups.rest("groups", group), groups.statuses(group)) == ("available", ["available"])
    assert groups.newest("group.update")["error"]["kind"] == "NotFound"
    assert groups.rest("group_snapshots", whole) == "available"
    assert noted.read_text() == before
    (groups.service.state / "pool" / "volumes" / f"volume-{volume}").unlink()


def test_the_default_group_type(groups: Groups) -> None:
    """The one that the setting names, once it is there; it is not deleted."""
    assert groups.ask("GET", "group_types/default")[0] == 404
    made = groups.good("POST", "group_types", {"group_type": {"name": "dflt"}})["group_type"]["id"]
    assert groups.good("GET", "group_types/default")["group_type"]["id"] == made
    assert "default" in groups.refused("DELETE", f"group_types/{made}")


REPLICATED = {"group_replication_enabled": "<is> True"}


def status(groups: Groups, group: str) -> str:
    groups.service.settle()
    return str(groups.good("GET", f"groups/{group}")["group"]["replication_status"])


def replicated(groups: Groups) -> tuple[str, str]:
    types = [row["name"] for row in groups.good("GET", "types")["volume_types"]]
    if "copied" not in types:
        body = {"volume_type": {"name": "copied", "extra_specs": {"replication": "<is> True"}}}
        groups.good("POST", "types", body)
    group = groups.group(group_type=groups.type(**REPLICATED), volume_types=["copied"])
    return group, groups.volume(group_id=group, volume_type="copied")


def test_replication_of_a_group(groups: Groups) -> None:
    """Enabled, failed over with the bytes of the copy, back, disabled; each from its statuses only."""
    group, volume = replicated(groups)
    assert groups.act(group, "list_replication_targets")["replication_targets"] == [
        {"backend_id": "far"}, {"backend_id": "near"}
    ]  # fmt: skip
    assert "has to be" in groups.refused("POST", f"groups/{group}/action", {"failover_replication": {}})
    with (groups.service.state / "pool" / "volumes" / f"volume-{volume}").open("r+b") as file:
        file.write(b"copied")
    groups.act(group, "enable_replication")
    assert status(groups, group) == "enabled"
    groups.act(group, "failover_replication", {"secondary_backend_id": "nowhere"})
    assert status(groups, group) == "enabled"
    groups.act(group, "failover_replication", {"secondary_backend_id": "near"})
    assert status(groups, group) == "failed-over"
    with (groups.service.state / "near" / "volumes" / f"volume-{volume}").open("rb") as file:
        assert file.read(6) == b"copied"
    assert groups.good("GET", f"volumes/{volume}")["volume"]["replication_status"] == "failed-over"
    groups.act(group, "failover_replication", {"secondary_backend_id": "default"})
    assert status(groups, group) == "enabled"
    groups.act(group, "disable_replication")
    assert status(groups, group) == "disabled"


@pytest.mark.parametrize("fault", ["DeviceBusy", "ValueError"])
def test_replication_that_fails(groups: Groups, fault: str) -> None:
    """Group and volumes have the replication status `error`, and it can be disabled."""
    group, volume = replicated(groups)
    plan(groups, enable_replication=fault)
    groups.act(group, "enable_replication")
    assert status(groups, group) == "error"
    assert groups.good("GET", f"volumes/{volume}")["volume"]["replication_status"] == "error"
    plan(groups)
    groups.act(group, "disable_replication")
    assert status(groups, group) == "disabled"


def test_what_replication_refuses(groups: Groups) -> None:
    """A type that does not demand it, no volumes, and attached volumes without leave."""
    assert "demands no" in groups.refused("POST", f"groups/{groups.group(1)}/action", {"enable_replication": {}})
    empty = groups.group(group_type=groups.type(**REPLICATED))
    assert "no volumes" in groups.refused("POST", f"groups/{empty}/action", {"enable_replication": {}})
    group, volume = replicated(groups)
    groups.act(group, "enable_replication")
    assert status(groups, group) == "enabled"
    groups.good("POST", f"volumes/{volume}/action", {"os-attach": {"host_name": "h", "mountpoint": "/dev/x"}})
    assert "attached" in groups.refused("POST", f"groups/{group}/action", {"failover_replication": {}})
    groups.act(group, "failover_replication", {"allow_attached_volume": True})
    assert status(groups, group) == "failed-over"
    groups.good("POST", f"volumes/{volume}/action", {"os-detach": {}})
