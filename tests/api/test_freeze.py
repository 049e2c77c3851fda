"""A frozen backend: what the API refuses and what goes on, for every operation that it has."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from operations_of import HOST_NAME, OPERATIONS
from serving import ServiceProcess
from waiting import wait_until
from world import TOKENS, Operation, World

from drivers.memory import Faults
from nbdsvc.operation_types import TYPES_BY_NAME

BODY = {"host": HOST_NAME}
# Operations that change something, but nothing on the backend. A new one is added here, or refused: attachments are how
# volumes are used, and an upload and a comparison only read.
GOES_ON = {
    "os-reserve", "os-unreserve", "os-begin_detaching", "os-roll_detaching", "os-attach", "os-detach", "os-force_detach",
    "os-initialize_connection", "os-terminate_connection", "os-complete", "POST /v3/attachments", "PUT /v3/attachments/{id}",
    "DELETE /v3/attachments/{id}", "os-migrate_volume_completion", "os-volume_upload_image", "nbdsvc-verify", "os-show_image_metadata",
    # An administrator's repair of rows that are wrong (what `explain` submits for one is refused by itself), and what is not on
    # a backend.
    "os-reset_status", "reset_status", "list_replication_targets", "os-update_snapshot_status", "POST /v3/explain", "cancel", "limit", "DELETE /v3/messages/{id}", "DELETE /v3/images/{id}",
    "PUT /v3/images/{id}", "POST /v3/images",
}  # fmt: skip
# What makes a volume is refused by the scheduler: another backend might do.
PLACED = ("POST /v3/volumes", "POST /v3/groups", "POST /v3/consistencygroups", "POST /v3/backups/{id}/restore")
ELSEWHERE = (
    "/v3/types", "/v3/group_types", "/v3/qos-specs", "/v3/os-quota-sets", "/v3/os-quota-class-sets", "/v3/os-services", "/v3/os-hosts", "/v3/workers",
    "/v3/default-types", "/v3/clusters", "/v3/backups",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Something of every kind, on either database."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        settings: dict[str, Any] = {"driver": "memory", "cluster": "c1", "auth": "token", "tokens_file": tokens}
        settings["image_cache_gigabytes"] = 100
        if request.param == "postgresql":
            settings["database"] = request.getfixturevalue("postgres").database()
        service = ServiceProcess(Path(folder), **settings).start()
        yield World(service)
        service.stop()
        service.end_exports()


def goes_on(operation: Operation) -> bool:
    method, path, *action = operation.name.split()
    name = action[0] if action else operation.name
    if name in PLACED:
        return False
    return method == "GET" or name in GOES_ON or path.startswith(ELSEWHERE)


# Operations that only read need no backend, except lists of manageable objects.
_ASKED = [
    each
    for each in OPERATIONS
    if "/os-services/" not in each.name and (not each.name.startswith("GET") or "manage" in each.name)
]


@pytest.mark.row("S044", "S087")
@pytest.mark.parametrize("operation", _ASKED, ids=lambda each: each.name.replace("/v3/", ""))
def test_what_would_change_a_frozen_backend_is_refused(world: World, operation: Operation) -> None:
    """Every operation of the API either changes nothing there, and succeeds, or is refused with the reason: none is left out."""
    method, path, body = operation.send(world)
    world.frozen()
    status, content, _ = world.ask(method, path, body)
    if goes_on(operation) or operation.status >= 400:  # refused in this world for another reason
        assert status == operation.status, (operation.name, content)
    elif operation.name in PLACED:
        assert (status, "frozen" in str(content)) == (503, True), content
    else:
        assert (status, "is frozen" in str(content)) == (400, True), (operation.name, content)
        assert world.ask(method, path, body, admin=False)[0] in (400, 403)
        assert "me@" not in json.dumps(world.ask(method, path, body, admin=False)[1])


@pytest.mark.row("S087")
def test_a_volume_of_a_source_on_a_frozen_backend_is_refused(world: World) -> None:
    """It would be made where its source is, so no other backend can take it."""
    world.open()
    snapshot, source = world.snapshot, world.new_volume()
    world.frozen()
    for fields in ({"snapshot_id": snapshot}, {"source_volid": source}):
        status, content, _ = world.ask("POST", "/v3/volumes", {"volume": fields})
        assert (status, "is frozen" in str(content)) == (400, True), content


def test_every_type_of_operation_says_whether_it_modifies() -> None:
    """Those that make, change or remove something on the backend, and no other: access, reading and repair go on."""
    modifying = {each.name for each in TYPES_BY_NAME.values() if each.modifies}
    assert modifying == {each.name for each in TYPES_BY_NAME.values() if each.name.partition(".")[0] in ("volume", "snapshot", "group", "group_snapshot")} - {
        "volume.upload", "volume.upload_to_glance", "volume.verify", "volume.detach_all",
    } | {"backup.restore"}  # fmt: skip


@pytest.mark.row("S044", "S045")
def test_frozen_twice_and_thawed_twice(world: World) -> None:
    """A freeze disables the service with its reason; repeated it is refused, and so is a thaw of what is not frozen."""
    world.open()
    assert "NOT Frozen" in str(world.ask("PUT", "/v3/os-services/thaw", BODY)[1]["badRequest"])
    world.good("PUT", "/v3/os-services/freeze", world.thawed())
    shown = world.good("GET", "/v3/os-services")["services"][0]
    assert (shown["frozen"], shown["status"], shown["disabled_reason"], shown["state"]) == (
        True,
        "disabled",
        "frozen",
        "up",
    )
    status, content, _ = world.ask("PUT", "/v3/os-services/freeze", BODY)
    assert (status, "Host is already Frozen." in content["badRequest"]["message"]) == (400, True)
    assert world.ask("PUT", "/v3/os-services/freeze", {"host": "elsewhere"})[0] == 400
    assert world.ask("PUT", "/v3/os-services/freeze", {**BODY, "cluster": "c"})[0] == 400
    world.good("PUT", "/v3/os-services/enable", BODY)
    assert world.good("GET", "/v3/os-services")["services"][0]["frozen"] is True  # to enable is not to thaw
    world.good("PUT", "/v3/os-services/thaw", BODY)
    shown = world.good("GET", "/v3/os-services")["services"][0]
    assert (shown["frozen"], shown["status"], shown["disabled_reason"]) == (False, "enabled", None)


@pytest.mark.row("S044", "S045")
def test_a_thaw_enables_only_what_the_freeze_disabled(world: World) -> None:
    """A service that an administrator had disabled keeps its reason; test_failover.py has one that failed over."""
    world.open()
    world.good("PUT", "/v3/os-services/disable-log-reason", {**BODY, "disabled_reason": "new disks"})
    for verb in ("freeze", "thaw"):
        world.good("PUT", f"/v3/os-services/{verb}", BODY)
        shown = world.good("GET", "/v3/os-services")["services"][0]
        assert (shown["frozen"], shown["status"], shown["disabled_reason"]) == (
            verb == "freeze",
            "disabled",
            "new disks",
        )
    world.good("PUT", "/v3/os-services/enable", BODY)


def test_the_driver_is_notified(world: World) -> None:
    """The simulator keeps a file while it is frozen."""
    marker = world.service.state / "pool" / "frozen"
    world.open()
    world.good("PUT", "/v3/os-services/freeze", world.thawed())
    wait_until(marker.exists)
    world.good("PUT", "/v3/os-services/thaw", BODY)
    assert not marker.exists()


@pytest.mark.row("S044", "S045")
@pytest.mark.parametrize("fault", ["DeviceBusy", "CommandFailed"])
def test_a_driver_that_fails(make_service: Callable[..., ServiceProcess], fault: str) -> None:
    """At a freeze it is a warning, and the backend is frozen; at a thaw an error, and it stays frozen, until the driver can."""
    service = make_service(driver="memory")
    faults = Faults(service.state / "pool", "file")
    faults.plan({"freeze_backend": [{"error": fault}], "thaw_backend": [{"error": fault, "times": 1}]})
    assert ask(service, "PUT", "/v3/os-services/freeze", BODY)[0] == 200
    service.settle()
    assert shown(service)["frozen"] is True
    assert "the driver failed at a freeze" in service.log.read_text()
    status, content, _ = ask(service, "PUT", "/v3/os-services/thaw", BODY)
    assert status == 503
    assert "Backend reported error during thaw_host operation. " in content["serviceUnavailable"]["message"]
    assert "simulated fault" in content["serviceUnavailable"]["message"]
    assert (shown(service)["frozen"], shown(service)["status"]) == (True, "disabled")
    assert ask(service, "PUT", "/v3/os-services/thaw", BODY)[0] == 200
    assert (shown(service)["frozen"], shown(service)["status"]) == (False, "enabled")


def shown(service: ServiceProcess) -> Any:
    return ask(service, "GET", "/v3/os-services")[1]["services"][0]
