"""Migration of volumes between the pools and backends of one host."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ask
from moving import BACKENDS, CONTENT, POOLS, Moving
from waiting import wait_until

from nbdsvc.model import names

# The verb of the simulator, the pools of source and destination, and whether the driver may move it.
VERBS = [
    ("create_volume", "a", "c"),
    ("before_volume_copy", "a", "c"),
    ("before_volume_copy", "c", "a"),
    ("after_volume_copy", "a", "c"),
    ("update_migrated_volume", "a", "c"),
    ("delete_volume", "c", "a"),
    ("migrate_volume", "c", "small"),
]
MORE = 96 << 20
LATE = ("update_migrated_volume", "delete_volume")
USER = {"instance_uuid": "5b1a8b4e-0000-4000-8000-000000000001", "mountpoint": "/dev/vdb"}


@pytest.fixture(scope="module")
def made(module_service: Callable[..., Any]) -> Moving:
    return Moving(module_service(backends=BACKENDS))


@pytest.fixture
def moving(made: Moving) -> Iterator[Moving]:
    """The service of this module; the plans of faults end with the test."""
    yield made
    made.faults.plan({})


@pytest.mark.row("S033", "S085", "S096")
def test_a_driver_moves_what_it_can(moving: Moving) -> None:
    """Between two pools of one file system the file is renamed: the same inode, no copy; and back."""
    id = moving.written()
    inode = moving.path(id).stat().st_ino
    for pool in ("b", "a"):
        moving.migrate(id, pool)
        assert moving.ended()["progress"]["total"] == 0
        assert moving.place(id) == (pool, "available", "success")
        assert moving.path(id).stat().st_ino == inode
        assert moving.is_whole(id)
    moving.remove(id)


@pytest.mark.row("S033", "S034", "S075", "S084", "S085")
@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("pool", ["b", "c"])
def test_else_it_is_copied(moving: Moving, pool: str, lock: bool) -> None:
    """Forced, or to another backend: the bytes are copied, holes stay holes, the source goes, and the volume works there."""
    id = moving.written()
    moving.migrate(id, pool, force_host_copy=True, lock_volume=lock)
    assert moving.shown(id)["status"] == ("maintenance" if lock else "available")
    assert moving.ended()["progress"]["data"] == 2 * len(CONTENT)
    assert moving.place(id) == (pool, "available", "success")
    assert moving.is_whole(id)
    assert moving.path(id).stat().st_blocks * 512 < 16 << 20
    assert list((moving.service.state / "c" / "copying").glob("*")) == []
    assert moving.act(id, "os-extend", new_size=2)[0] == 202
    assert moving.service.wait_status("volumes", id) == "available"
    snapshot = moving.service.client().post("snapshots", body={"snapshot": {"volume_id": id}})["snapshot"]["id"]
    assert moving.service.wait_status("snapshots", snapshot) == "available"
    moving.service.client().delete("snapshots", snapshot)
    assert moving.service.wait_status("snapshots", snapshot) == "gone"
    moving.remove(id)


@pytest.mark.row("S033", "S075")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("verb", "source", "destination"), VERBS)
def test_cancelled_at_each_step(moving: Moving, verb: str, source: str, destination: str, when: str) -> None:
    """Until the switch a cancel takes everything back; from it on the migration ends as if nothing had been requested."""
    id = moving.written(source)
    moving.wait_room()
    moving.slow(verb, when=when)
    moving.migrate(id, destination, lock_volume=True)
    moving.wait_slow()
    moving.service.client().act("operations", moving.running(), "cancel")
    assert moving.ended()["state"] == ("succeeded" if verb in LATE else "cancelled")
    if verb in LATE:
        assert moving.place(id) == (destination, "available", "success")
    else:
        assert moving.place(id) == (source, "available", "error")
    assert moving.is_whole(id)
    assert moving.promised() == {moving.place(id)[0]: 1}
    assert moving.service.leftovers() == []
    moving.remove(id)


@pytest.mark.row("S033", "S075", "S084")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("verb", "source", "destination"), VERBS)
def test_a_fault_at_each_step(moving: Moving, verb: str, source: str, destination: str, when: str) -> None:
    """Until the switch a fault leaves the volume as it was; one after it fails the operation, and what is left goes later."""
    id = moving.written(source)
    moving.wait_room()
    moving.slow(verb, when=when, delay=0, error="BackendUnavailable")
    moving.migrate(id, destination)
    ended = moving.ended()
    assert (ended["state"], "simulated fault" in ended["error"]["message"]) == ("failed", True)
    wait_until(lambda: moving.place(id)[2] in ("error", "success"))
    moving.service.settle()
    assert moving.place(id) == (
        (destination, "available", "success") if verb in LATE else (source, "available", "error")
    )
    assert moving.is_whole(id)
    assert moving.promised() == {moving.place(id)[0]: 1}
    moving.remove(id)


def test_a_source_that_cannot_be_removed(moving: Moving) -> None:
    """While its backend fails, its room stays promised, the volume is usable at its destination, and moves nowhere else."""
    id = moving.written("c")
    moving.faults.plan({"delete_volume": [{"error": "BackendUnavailable"}]})
    moving.migrate(id, "a")
    assert moving.ended()["state"] == "failed"
    assert moving.place(id) == ("a", "available", "completing")
    assert moving.promised() == {"a": 1, "c": 1}
    status, content = moving.act(id, "os-migrate_volume", host=POOLS["b"])
    assert (status, "still to be removed" in content) == (409, True)
    moving.service.client().delete("volumes", id)
    assert moving.service.wait_status("volumes", id) == "gone"
    assert moving.promised() == {"c": 1}
    moving.service.kill()
    moving.service.start()  # the object that is left over is known, and does not prevent a start
    moving.faults.plan({})
    wait_until(lambda: moving.promised() == {})
    assert list((moving.service.state / "c" / "volumes").iterdir()) == []


@pytest.mark.row("S033")
def test_room_and_quotas_meanwhile(moving: Moving) -> None:
    """While it is copied room is promised at both places, the quota counts it once, progress is shown, and limits hold."""
    id = moving.written()
    with moving.path(id).open("r+b") as file:
        file.seek(512 << 20)
        file.write(os.urandom(MORE))
    moving.wait_room()
    moving.slow("before_volume_copy")
    moving.migrate(id, "small", lock_volume=True)
    moving.service.client().act("operations", moving.running(), "limit", {"rate": 8 << 20})

    def progress() -> Any:
        return moving.service.client().get("operations", moving.running())["operation"]["progress"]

    wait_until(lambda: 0 < progress()["data"] < MORE)
    assert moving.place(id) == ("a", "maintenance", "migrating")
    assert moving.promised() == {"a": 1, "small": 1}
    assert moving.used() == (1, 1)
    status, content, _ = ask(moving.service, "POST", "/v3/volumes", {"volume": {"size": 1, "volume_type": "small"}})
    assert (status, "CapacityFilter" in str(content)) == (400, True), content
    moving.service.client().act("operations", moving.running(), "limit", {"rate": 0})
    assert moving.ended()["state"] == "succeeded"
    assert (moving.promised(), moving.used()) == ({"small": 1}, (1, 1))
    moving.remove(id)


OTHERS: dict[str, Callable[[Moving, str], tuple[int, Any]]] = {
    "extend": lambda moving, id: moving.act(id, "os-extend", new_size=2),
    "attach": lambda moving, id: ask(
        moving.service, "POST", "/v3/attachments", {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}},
        OpenStack_API_Version="volume 3.44")[:2],
    "clone": lambda moving, id: ask(moving.service, "POST", "/v3/volumes", {"volume": {"source_volid": id}})[:2],
    "snapshot": lambda moving, id: ask(moving.service, "POST", "/v3/snapshots", {"snapshot": {"volume_id": id}})[:2],
    "upload": lambda moving, id: moving.act(id, "os-volume_upload_image", image_name="i"),
    "delete": lambda moving, id: ask(moving.service, "DELETE", f"/v3/volumes/{id}")[:2],
    "force delete": lambda moving, id: moving.act(id, "os-force_delete"),
    "migrate": lambda moving, id: moving.act(id, "os-migrate_volume", host=POOLS["b"]),
    "retype": lambda moving, id: moving.act(id, "os-retype", new_type="b", migration_policy="on-demand"),
    "unmanage": lambda moving, id: moving.act(id, "os-unmanage"),
}  # fmt: skip


@pytest.mark.row("S033")
@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_other_commands_meanwhile(moving: Moving, name: str, lock: bool) -> None:
    """A migration that locks the volume refuses them; one that does not is ended by them, but for another move."""
    id = moving.written()
    moving.slow("create_volume")
    moving.migrate(id, "c", lock_volume=lock)
    moving.wait_slow()
    status, content = OTHERS[name](moving, id)
    refused = lock or name in ("migrate", "retype")
    assert status in ((400, 409) if refused else (200, 202)), content
    ended = moving.ended()
    assert ended["state"] == ("succeeded" if refused else "cancelled")
    assert "failed" not in {row["state"] for row in moving.service.client().get("operations", limit=3)["operations"]}
    if not refused and name in ("delete", "force delete", "unmanage"):
        assert moving.shown(id) == {}
        (moving.service.state / "a" / "volumes" / f"volume-{id}").unlink(missing_ok=True)
    else:
        assert moving.place(id)[::2] == (("c", "success") if refused else ("a", "error"))
        assert moving.is_whole(id) or name == "extend"
    _empty(moving)


def _empty(moving: Moving) -> None:
    client = moving.service.client()
    for row in client.get("attachments")["attachments"]:
        client.delete("attachments", row["id"])
    for row in client.get("volumes")["volumes"]:
        client.delete("volumes", row["id"], cascade=True)
    moving.service.settle()
    assert moving.promised() == {}


def test_what_is_refused(moving: Moving) -> None:
    """A destination that cannot take the volume, and a volume that cannot be moved: each with the reason, and nothing begun."""
    id = moving.written()
    moving.wait_room()
    full = moving.bound("small")
    bound, away = moving.bound("a"), moving.written("c")
    for host, reason in (
        ("me@solid#a", "in this pool already"),
        ("me@solid#gone", "no pool has this name"),
        ("me@gone#a", "no pool has this name"),
        ("other@solid#a", "no pool has this name"),
        ("me@solid#a#b", "no pool has this name"),
        ("me@solid@x#a", "no pool has this name"),
        ("@solid#a", "no pool has this name"),
        ("me@solid", "several pools"),
        ("me", "several pools"),
        ("", "host@backend#pool"),
        ("me@swamp#small", "CapacityFilter"),
    ):
        status, content = moving.act(id, "os-migrate_volume", host=host)
        assert (status, reason in content) == (400, True), (host, content)
    status, content = moving.act(bound, "os-migrate_volume", host=POOLS["c"])
    assert (status, "CapabilitiesFilter" in content) == (400, True)
    status, content, _ = ask(
        moving.service, "POST", f"/v3/volumes/{id}/action", {"os-migrate_volume": {"host": None, "cluster": "c"}},
        OpenStack_API_Version="volume 3.16",
    )  # fmt: skip
    assert (status, "no cluster has this name" in str(content)) == (400, True)
    for change, back, more in (("freeze", "thaw", {}), ("disable", "enable", {"binary": "cinder-volume"})):
        service = {"host": "me@swamp", **more}
        assert ask(moving.service, "PUT", f"/v3/os-services/{change}", service)[0] in (200, 202)
        status, content = moving.act(id, "os-migrate_volume", host=POOLS["c"])
        assert (status, "BackendStateFilter" in content) == (400, True), content
        status, content = moving.act(away, "os-migrate_volume", host=POOLS["a"])
        assert (status, "frozen" in content) == ((400, True) if change == "freeze" else (202, False)), content
        moving.service.settle()
        assert ask(moving.service, "PUT", f"/v3/os-services/{back}", service)[0] in (200, 202)
    assert moving.act(names.new_id(), "os-migrate_volume", host=POOLS["c"])[0] == 404
    snapshot = moving.service.client().post("snapshots", body={"snapshot": {"volume_id": id}})["snapshot"]["id"]
    assert moving.service.wait_status("snapshots", snapshot) == "available"
    status, content = moving.act(id, "os-migrate_volume", host=POOLS["c"])
    assert (status, "1 snapshots" in content) == (400, True)
    assert moving.act(full, "os-attach", **USER)[0] == 202
    status, content = moving.act(full, "os-migrate_volume", host=POOLS["c"])
    assert (status, "in use" in content) == (400, True)
    assert moving.place(id) == ("a", "available", None)
    assert moving.act(full, "os-detach")[0] == 202
    _empty(moving)


def test_the_command(moving: Moving) -> None:
    """`nbdsvc migrate` waits for the end and shows the volume; its exit status says that a request was refused."""
    id = moving.written()

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "nbdsvc", *arguments]
        environment = {**os.environ, "NBDSVC_ENDPOINT": moving.service.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout or done.stderr

    status, output = run("migrate", id, POOLS["c"], "--lock-volume", "--json")
    assert (status, json.loads(output)["os-vol-host-attr:host"]) == (0, POOLS["c"])
    status, output = run("migrate", id, POOLS["c"])
    assert (status, "in this pool already" in output) == (4, True)
    status, output = run("retype", id, "b", "--migration-policy", "on-demand", "--json")
    assert (status, json.loads(output)["os-vol-host-attr:host"]) == (0, POOLS["b"])
    status, output = run("retype", id, "__DEFAULT__", "--json")
    assert (status, json.loads(output)["volume_type"]) == (0, "__DEFAULT__")
    assert moving.is_whole(id)
    moving.remove(id)


def test_a_hypervisor_has_copied_it(moving: Moving) -> None:
    """os-migrate_volume_completion gives the user of the old volume to the new one; with an error it changes nothing."""
    old, new = moving.bound("a"), moving.bound("c")
    assert moving.act(old, "os-attach", **USER)[0] == 202
    for error, users in ((True, ["in-use", "available"]), (False, ["available", "in-use"])):
        status, content = moving.act(old, "os-migrate_volume_completion", new_volume=new, error=error)
        assert (status, content) == (202, str({"save_volume_id": new}))
        assert [moving.shown(each)["status"] for each in (old, new)] == users
    assert moving.shown(new)["attachments"][0]["server_id"] == USER["instance_uuid"]
    assert moving.act(old, "os-retype", new_type="__DEFAULT__")[0] == 202
    moving.migrate(old, "b")
    moving.ended()
    status, content = moving.act(old, "os-migrate_volume_completion", new_volume=new)
    assert (status, "Destination volume not mid-migration" in content) == (400, True)
    assert moving.act(old, "os-migrate_volume_completion", new_volume=names.new_id())[0] == 404
    assert moving.act(new, "os-detach")[0] == 202
    _empty(moving)
