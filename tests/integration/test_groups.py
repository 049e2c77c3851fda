"""Groups of a driver that has none of its own: from the API down to the files, on a backend that shares blocks and on one
that copies.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from backends import COPYING, INSTANT
from grouping import TYPE, Groups
from serving import ServiceProcess

from drivers.memory import Faults

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module", params=["instant", "copying"])
def groups(request: pytest.FixtureRequest, module_service: Callable[..., ServiceProcess]) -> Groups:
    backend = {"instant": INSTANT, "copying": COPYING}[request.param]
    return Groups(module_service(request.param, backend=backend))


def path(groups: Groups, id: str, kind: str = "volumes/volume-") -> Path:
    return groups.service.state / "pool" / f"{kind}{id}"


def write(groups: Groups, volume: str, content: bytes) -> None:
    with path(groups, volume).open("r+b") as file:
        file.write(content)


def begins(found: Path) -> bytes:
    with found.open("rb") as file:
        return file.read(8)


@pytest.mark.row("S037", "S038", "S039", "S041", "S042")
def test_the_life_of_a_group(groups: Groups) -> None:
    """Made, filled, snapshotted, copied from its snapshot and from itself, deleted; quotas and the pool are empty after."""
    group = groups.group(2, name="g", description="d")
    first, second = groups.volumes_of(group)
    write(groups, first, b"first..."), write(groups, second, b"second..")
    whole = groups.snapshot(group)
    snapshots = groups.snapshots_of(whole)
    assert [each["status"] for each in snapshots] == ["available"] * 2
    assert {each["volume_id"] for each in snapshots} == {first, second}
    write(groups, first, b"changed.")
    made = groups.from_source(group_snapshot_id=whole, name="of the snapshot")
    contents = {begins(path(groups, each)) for each in groups.volumes_of(made)}
    assert contents == {b"first...", b"second.."}
    clone = groups.from_source(source_group_id=group)
    assert {begins(path(groups, each)) for each in groups.volumes_of(clone)} == {b"changed.", b"second.."}
    shown = groups.good("GET", f"groups/{clone}")["group"]
    assert (shown["source_group_id"], shown["group_snapshot_id"]) == (group, None)
    assert groups.used() == (3, 6, 2)
    assert "2 volumes" in groups.refused("POST", f"groups/{group}/action", {"delete": {"delete-volumes": False}})
    assert "group snapshots" in groups.refused("POST", f"groups/{group}/action", {"delete": {"delete-volumes": True}})
    groups.good("DELETE", f"group_snapshots/{whole}")
    assert groups.rest("group_snapshots", whole) == "gone"
    for each in (group, made, clone):
        groups.delete(each)
    assert groups.used() == (0, 0, 0)
    assert groups.service.leftovers() == []
    assert groups.service.findings() == []


@pytest.mark.row("S040")
def test_volumes_join_and_leave(groups: Groups) -> None:
    """Also one that is in use; the volume shows its group, and its list can be filtered by it."""
    group, volume = groups.group(), groups.volume()
    used = groups.volume()
    groups.good("POST", f"volumes/{used}/action", {"os-attach": {"host_name": "h", "mountpoint": "/dev/x"}})
    groups.update(group, add_volumes=f"{volume},{used},{volume}", name="n")
    assert sorted(groups.volumes_of(group)) == sorted([volume, used])
    assert groups.good("GET", f"volumes/{volume}")["volume"]["group_id"] == group
    assert groups.good("GET", f"volumes/{volume}")["volume"]["consistencygroup_id"] is None
    assert groups.good("GET", f"volumes?group_id={group}")["volumes"]
    groups.update(group, remove_volumes=f"{volume},{used}")
    assert groups.volumes_of(group) == []
    assert groups.good("GET", f"volumes/{volume}")["volume"]["group_id"] is None
    groups.good("POST", f"volumes/{used}/action", {"os-detach": {}})
    groups.delete(group, volumes=False)


@pytest.mark.row("S040")
def test_what_may_not_join_or_leave(groups: Groups) -> None:
    """A volume that there is not, of another project, type or group, or in the wrong status: refused, the group untouched."""
    group, volume, other = groups.group(1), groups.volume(), groups.group()
    inside = groups.volumes_of(group)[0]
    foreign = Groups(groups.service, "p2").volume()
    groups.good("POST", "types", {"volume_type": {"name": "other"}})
    wrong = groups.volume(volume_type="other")
    for changes, reason in (
        ({"add_volumes": UNKNOWN}, "could not be found"),
        ({"add_volumes": foreign}, "could not be found"),
        ({"add_volumes": wrong}, "type"),
        ({"add_volumes": inside}, "already"),
        ({"remove_volumes": volume}, "not in the group"),
        ({"add_volumes": volume, "remove_volumes": volume}, "also in remove_volumes"),
        ({}, "must not all be empty"),
        ({"name": None, "add_volumes": ""}, "must not all be empty"),
    ):
        assert reason in groups.refused("PUT", f"groups/{group}", {"group": changes}), changes
    groups.good("POST", f"volumes/{volume}/action", {"os-reset_status": {"status": "error"}})
    assert "its status is error" in groups.refused("PUT", f"groups/{group}", {"group": {"add_volumes": volume}})
    groups.good("POST", f"volumes/{inside}/action", {"os-reset_status": {"status": "uploading"}})
    assert "its status is uploading" in groups.refused("PUT", f"groups/{group}", {"group": {"remove_volumes": inside}})
    groups.good("POST", f"volumes/{inside}/action", {"os-reset_status": {"status": "error"}})
    assert (groups.rest("groups", group), groups.volumes_of(group)) == ("available", [inside])
    groups.update(group, remove_volumes=inside)
    groups.delete(group), groups.delete(other)
    groups.good("DELETE", f"volumes/{wrong}")
    groups.service.settle()
    groups.good("DELETE", f"types/{groups.good('GET', 'types/other')['volume_type']['id']}")


def test_a_grouped_volume_stays_with_its_group(groups: Groups) -> None:
    """It is not deleted, moved, retyped, unmanaged or given away by itself, and neither is its part of a group snapshot."""
    group = groups.group(1)
    (volume,) = groups.volumes_of(group)
    for action, value in (
        ("os-migrate_volume", {"host": "me@file#file"}), ("os-retype", {"new_type": TYPE}), ("os-unmanage", {}),
        ("os-force_delete", {}),
    ):  # fmt: skip
        assert "group" in groups.refused("POST", f"volumes/{volume}/action", {action: value}), action
    assert "group" in groups.refused("DELETE", f"volumes/{volume}")
    assert "group" in groups.refused("POST", "volume-transfers", {"transfer": {"volume_id": volume}})
    whole = groups.snapshot(group)
    (part,) = groups.snapshots_of(whole)
    assert "group snapshot" in groups.refused("DELETE", f"snapshots/{part['id']}")
    assert "group snapshot" in groups.refused("POST", f"snapshots/{part['id']}/action", {"os-unmanage": {}})
    groups.update(group, remove_volumes=volume)
    assert "group snapshot" in groups.refused("DELETE", f"volumes/{volume}?cascade=true")
    groups.good("DELETE", f"group_snapshots/{whole}")
    groups.service.settle()
    groups.good("DELETE", f"volumes/{volume}")
    groups.delete(group)


def test_what_a_group_refuses(groups: Groups) -> None:
    """A type that it has not, no volumes, statuses that do not fit, a source of nothing, and what is attached."""
    group, empty = groups.group(1), groups.group()
    (volume,) = groups.volumes_of(group)
    groups.good("POST", "types", {"volume_type": {"name": "odd"}})
    body = {"volume": {"size": 1, "group_id": group, "volume_type": "odd"}}
    assert "supported by this group" in groups.refused("POST", "volumes", body)
    assert groups.ask("POST", "volumes", {"volume": {"size": 1, "group_id": UNKNOWN}})[0] == 404
    assert groups.ask("POST", "volumes", {"volume": {"size": 1, "consistencygroup_id": group}})[0] == 404
    assert "no volumes" in groups.refused("POST", "group_snapshots", {"group_snapshot": {"group_id": empty}})
    assert "no volumes" in groups.refused("POST", "groups/action", {"create-from-src": {"source_group_id": empty}})
    both = {"create-from-src": {"source_group_id": group, "group_snapshot_id": UNKNOWN}}
    assert "exactly one" in groups.refused("POST", "groups/action", both)
    assert "exactly one" in groups.refused("POST", "groups/action", {"create-from-src": {}})
    groups.good("POST", f"volumes/{volume}/action", {"os-attach": {"host_name": "h", "mountpoint": "/dev/x"}})
    assert "in-use" in groups.refused("POST", "groups/action", {"create-from-src": {"source_group_id": group}})
    assert "attachments" in groups.refused("POST", f"groups/{group}/action", {"delete": {"delete-volumes": True}})
    assert groups.rest("groups", group) == "available"
    groups.good("POST", f"volumes/{volume}/action", {"os-detach": {}})
    groups.good("POST", f"groups/{group}/action", {"reset_status": {"status": "error"}})
    assert "its status is error" in groups.refused("PUT", f"groups/{group}", {"group": {"name": "x"}})
    assert "its status is error" in groups.refused("POST", "volumes", {"volume": {"size": 1, "group_id": group}})
    assert "must be one of" in groups.refused("POST", f"groups/{group}/action", {"reset_status": {"status": "odd"}})
    assert groups.ask("POST", "groups", {"group": {"group_type": UNKNOWN, "volume_types": [TYPE]}})[0] == 404
    assert groups.ask("POST", "groups", {"group": {"group_type": groups.type(), "volume_types": ["nosuch"]}})[0] == 404
    assert groups.ask("POST", "groups", {"group": {"group_type": groups.type(), "volume_types": []}})[0] == 400
    groups.delete(group), groups.delete(empty)
    groups.good("DELETE", f"types/{groups.good('GET', 'types/odd')['volume_type']['id']}")


@pytest.mark.row("S041", "S108")
def test_a_group_snapshot_that_fails_leaves_nothing(groups: Groups) -> None:
    """The pool is full after the first snapshot: all are `error` and none is in the pool; the group is as it was."""
    group = groups.group(2)
    Faults(groups.service.state / "pool", "file").plan({"create_snapshot": [{"when": "after", "error": "OutOfSpace"}]})
    whole = groups.snapshot(group, "error")
    Faults(groups.service.state / "pool", "file").plan({})
    assert [each["status"] for each in groups.snapshots_of(whole)] == ["error", "error"]
    assert list((groups.service.state / "pool" / "snapshots").iterdir()) == []
    assert (groups.rest("groups", group), groups.statuses(group)) == ("available", ["available"] * 2)
    groups.good("DELETE", f"group_snapshots/{whole}")
    groups.service.settle()
    groups.delete(group)


@pytest.mark.row("S039", "S110")
def test_a_deletion_that_fails_in_part(groups: Groups) -> None:
    """One volume is busy: the group is `error` with this one, the other is gone; a second deletion ends it."""
    _, others, snapshots = groups.used()
    group = groups.group(2)
    busy = {"delete_volume": [{"error": "DeviceBusy", "times": 1}]}
    Faults(groups.service.state / "pool", "file").plan(busy)
    groups.delete(group, "error")
    assert groups.statuses(group) == ["error_deleting"]
    assert groups.used() == (1, others + 1, snapshots)
    groups.delete(group)
    assert groups.service.leftovers() == []


@pytest.mark.row("S038", "S111")
def test_a_group_from_a_source_that_fails_leaves_nothing(groups: Groups) -> None:
    """The group and its volumes are `error`, and nothing of them is in the pool."""
    group = groups.group(2)
    before = set((groups.service.state / "pool" / "volumes").iterdir())
    verb = "create_cloned_volume" if "instant" in str(groups.service.state) else "create_volume"
    Faults(groups.service.state / "pool", "file").plan({verb: [{"when": "after", "error": "OutOfSpace"}]})
    made = groups.from_source("error", source_group_id=group)
    Faults(groups.service.state / "pool", "file").plan({})
    assert groups.statuses(made) == ["error", "error"]
    assert set((groups.service.state / "pool" / "volumes").iterdir()) == before
    groups.delete(made), groups.delete(group)


def test_quotas_of_groups(groups: Groups) -> None:
    """Groups count against the project's quota, also those from a source, whose volumes and snapshots count too."""
    own = Groups(groups.service, "p9")
    groups.good("PUT", "os-quota-sets/p9", {"quota_set": {"groups": 2, "volumes": 3, "snapshots": 1}})
    group = own.group(2)
    assert own.ask("POST", "group_snapshots", {"group_snapshot": {"group_id": group}})[0] == 413
    assert own.ask("POST", "groups/action", {"create-from-src": {"source_group_id": group}})[0] == 413
    other = own.group()
    assert own.ask("POST", "groups", {"group": {"group_type": own.type(), "volume_types": [TYPE]}})[0] == 413
    assert own.used() == (2, 2, 0)
    own.delete(group), own.delete(other)
    assert own.used() == (0, 0, 0)


def test_a_group_type_that_no_backend_meets(groups: Groups) -> None:
    """A spec that no backend has is refused at the creation; the scope of drivers is none of the scheduler's business."""
    wanted = {"group_type": groups.type(group_replication_enabled="<is> True"), "volume_types": [TYPE]}
    status, content = groups.ask("POST", "groups", {"group": wanted})
    assert (status, "group_replication_enabled" in str(content)) == (503, True)
    group = groups.group(group_type=groups.type(consistent_group_snapshot_enabled="<is> True", **{"vendor:x": "y"}))
    groups.delete(group)
