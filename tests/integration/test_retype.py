"""Another type for a volume: in place, or by a migration."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ask
from moving import BACKENDS, Moving

MULTI = {"multiattach": "<is> True"}
USER = {"instance_uuid": "5b1a8b4e-0000-4000-8000-000000000001", "mountpoint": "/dev/vdb"}


@pytest.fixture(scope="module")
def made(module_service: Callable[..., Any]) -> Moving:
    """With types that every pool meets, and one that none does."""
    moving = Moving(module_service(backends=BACKENDS))
    moving.new_type("any", {"vendor:tier": "1"})
    moving.new_type("multi", MULTI)
    moving.new_type("none", {"pool_name": "nowhere"})
    return moving


@pytest.fixture
def moving(made: Moving) -> Iterator[Moving]:
    """The service of this module; the plans of faults end with the test."""
    yield made
    made.faults.plan({})


@pytest.mark.row("S049")
@pytest.mark.parametrize("policy", ["never", "on-demand"])
def test_in_place(moving: Moving, policy: str) -> None:
    """What its pool meets changes at once: extra specs and multiattach, the object stays, and no operation is submitted."""
    id = moving.written()
    inode = moving.path(id).stat().st_ino
    for name, multiattach in (("any", False), ("multi", True), ("a", False)):
        assert moving.act(id, "os-retype", new_type=name, migration_policy=policy)[0] == 202
        row = moving.shown(id)
        assert (row["volume_type"], row["status"], row["multiattach"]) == (name, "available", multiattach)
    assert moving.place(id) == ("a", "available", None)
    assert moving.path(id).stat().st_ino == inode
    moving.remove(id)


@pytest.mark.row("S049")
@pytest.mark.parametrize(("source", "name"), [("a", "b"), ("a", "c"), ("c", "a"), ("c", "small")])
def test_by_a_migration(moving: Moving, source: str, name: str) -> None:
    """Type and place change together, to a pool that meets the type; the bytes are the same and the status comes back."""
    id = moving.written(source)
    moving.wait_room()
    moving.slow("migrate_volume" if name == "small" else "before_volume_copy")
    assert moving.act(id, "os-retype", new_type=name, migration_policy="on-demand")[0] == 202
    if name != "b":
        moving.wait_slow()
        assert moving.shown(id)["volume_type"] == "__DEFAULT__"
        assert moving.place(id) == (source, "retyping", "migrating")
    assert moving.ended("volume.retype")["state"] == "succeeded"
    assert moving.place(id) == (name, "available", "success")
    assert moving.shown(id)["volume_type"] == name
    assert moving.is_whole(id)
    moving.remove(id)


@pytest.mark.row("S049")
@pytest.mark.parametrize("end", ["cancel", "fault"])
def test_undone_completely(moving: Moving, end: str) -> None:
    """A retype that is cancelled or fails leaves the volume with its type, in its pool, available."""
    id = moving.written()
    fault = {"error": "OutOfSpace", "delay": 0} if end == "fault" else {}
    moving.slow("after_volume_copy", when="after", **fault)
    assert moving.act(id, "os-retype", new_type="c", migration_policy="on-demand")[0] == 202
    if end == "cancel":
        moving.wait_slow()
        moving.service.client().act("operations", moving.running("volume.retype"), "cancel")
    assert moving.ended("volume.retype")["state"] == ("cancelled" if end == "cancel" else "failed")
    assert moving.place(id) == ("a", "available", "error")
    assert moving.shown(id)["volume_type"] == "__DEFAULT__"
    assert moving.is_whole(id)
    assert moving.promised() == {"a": 1}
    moving.remove(id)


@pytest.mark.row("S049")
def test_what_is_refused(moving: Moving) -> None:
    """The same type, an unknown one, what needs a migration by policy never, what no pool meets: each with the reason."""
    id = moving.written()
    for name, policy, status, reason in (
        ("__DEFAULT__", "on-demand", 400, "has this type already"),
        ("unknown", "on-demand", 404, "unknown"),
        ("c", "never", 400, "migration policy is never: me@solid#a: CapabilitiesFilter: pool_name = c requested"),
        ("none", "on-demand", 503, "CapabilitiesFilter"),
        ("c", "sometimes", 400, "migration_policy"),
        ("", "never", 400, "new_type"),
    ):
        answered = moving.act(id, "os-retype", new_type=name, migration_policy=policy)
        assert (answered[0], reason in answered[1]) == (status, True), answered
    snapshot = moving.service.client().post("snapshots", body={"snapshot": {"volume_id": id}})["snapshot"]["id"]
    assert moving.service.wait_status("snapshots", snapshot) == "available"
    answered = moving.act(id, "os-retype", new_type="c", migration_policy="on-demand")
    assert (answered[0], "1 snapshots" in answered[1]) == (400, True)
    moving.service.client().delete("snapshots", snapshot)
    assert moving.service.wait_status("snapshots", snapshot) == "gone"
    for status in ("error", "maintenance", "extending"):
        moving.service.client().act("volumes", id, "os-reset_status", {"status": status})
        answered = moving.act(id, "os-retype", new_type="any")
        assert (answered[0], f"its status is {status}" in answered[1]) == (400, True)
    moving.service.client().act("volumes", id, "os-reset_status", {"status": "available"})
    assert (moving.place(id), moving.shown(id)["volume_type"]) == (("a", "available", None), "__DEFAULT__")
    moving.remove(id)


@pytest.mark.row("S049")
def test_of_a_volume_in_use(moving: Moving) -> None:
    """In place it may be in use, but for multiattach; a migration is refused with the reason."""
    id = moving.written()
    assert moving.act(id, "os-attach", **USER)[0] == 202
    assert moving.act(id, "os-retype", new_type="any")[0] == 202
    for name, reason in (("multi", "cannot change while the volume is in use"), ("c", "is in use")):
        answered = moving.act(id, "os-retype", new_type=name, migration_policy="on-demand")
        assert (answered[0], reason in answered[1]) == (400, True), answered
    assert moving.shown(id)["volume_type"] == "any"
    assert moving.act(id, "os-detach")[0] == 202
    moving.remove(id)


def test_a_type_of_others(moving: Moving) -> None:
    """A private type of another project is not found, and a volume of another project neither."""
    id = moving.written()
    body = {"volume_type": {"name": "theirs", "os-volume-type-access:is_public": False}}
    assert ask(moving.service, "POST", "/v3/types", body)[0] == 200
    member = {"X_Auth_Token": "tester:p1", "X_Roles": "member"}
    body = {"os-retype": {"new_type": "theirs"}}
    assert ask(moving.service, "POST", f"/v3/volumes/{id}/action", body, **member)[0] in (202, 404)
    moving.remove(id)
