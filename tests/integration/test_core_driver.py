"""A backend whose driver implements only what every driver does: fully usable, and clear about what it cannot do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core_driver
import pytest
from asking import ask
from pools import PROTOCOLS_OF
from serving import HERE, ServiceProcess

from nbdsvc import errors
from nbdsvc.driver import Driver, capabilities_of, check_complete

NEWEST = "volume 3.44"


@pytest.fixture
def service(
    make_service: Callable[..., ServiceProcess], tmp_path: Path, request: pytest.FixtureRequest
) -> ServiceProcess:
    made = make_service(start=False, driver="example")
    offered = core_driver.install(tmp_path, f"core_driver:{getattr(request, 'param', 'CoreDriver')}")
    made.environment["PYTHONPATH"] = os.pathsep.join((str(made.tree), str(HERE), offered))
    return made.start()


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def new_volume(service: ServiceProcess, **wanted: Any) -> str:
    id = str(good(service, "POST", "/v3/volumes", {"volume": {"size": 1, **wanted}})["volume"]["id"])
    assert service.wait_status("volumes", id) == "available"
    return id


def file_of(service: ServiceProcess, id: str) -> Path:
    return service.state / "pool" / "volumes" / f"volume-{id}"


@pytest.mark.row("S060")
def test_a_driver_of_the_core_serves_volumes(service: ServiceProcess) -> None:
    """Created, filled from an image, attached, extended, copied and deleted: none of it needs more than the core."""
    images = service.state / "images"
    images.mkdir(exist_ok=True)
    (images / "small.raw").write_bytes(b"image" + bytes(507))
    filled = new_volume(service, imageRef="small.raw")
    assert file_of(service, filled).read_bytes()[:5] == b"image"
    body = {"attachment": {"volume_uuid": filled, "connector": {"host": "me"}}}
    attachment = good(service, "POST", "/v3/attachments", body)["attachment"]
    assert attachment["connection_info"]["driver_volume_type"] == "nbd"
    good(service, "DELETE", f"/v3/attachments/{attachment['id']}")
    service.settle()
    good(service, "POST", f"/v3/volumes/{filled}/action", {"os-extend": {"new_size": 2}})
    assert service.wait_status("volumes", filled) == "available"
    copy = new_volume(service, size=2, source_volid=filled)
    assert file_of(service, copy).read_bytes()[:5] == b"image"
    assert file_of(service, copy).stat().st_size == 2 << 30
    for id in (filled, copy):
        good(service, "DELETE", f"/v3/volumes/{id}")
        assert service.wait_status("volumes", id) == "gone"
        assert not file_of(service, id).exists()


def test_what_it_does_not_implement_is_refused_at_once(service: ServiceProcess) -> None:
    """Each request is 400 with the backend, the driver and the protocol in its message, and changes no row."""
    id = new_volume(service)
    pool = good(service, "GET", f"/v3/volumes/{id}")["volume"]["os-vol-host-attr:host"]
    ref = {"source-name": "x"}
    for method, path, body, protocol in (
        ("POST", "/v3/snapshots", {"snapshot": {"volume_id": id}}, "SnapshotDriver"),
        ("POST", "/v3/manageable_volumes", {"volume": {"host": pool, "ref": ref}}, "ManageDriver"),
        ("GET", f"/v3/manageable_volumes?host={pool.replace('#', '%23')}", None, "ManageDriver"),
        ("POST", f"/v3/volumes/{id}/action", {"os-unmanage": {}}, "ManageDriver"),
        ("POST", "/v3/manageable_snapshots", {"snapshot": {"volume_id": id, "ref": ref}}, "ManageSnapshotDriver"),
        ("GET", f"/v3/manageable_snapshots?host={pool.replace('#', '%23')}", None, "ManageSnapshotDriver"),
    ):
        status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
        assert status == 400, (path, content)
        message = content["badRequest"]["message"]
        assert f"its driver CoreDriver does not implement {protocol}" in message
    volumes = good(service, "GET", "/v3/volumes/detail")["volumes"]
    assert [(each["id"], each["status"]) for each in volumes] == [(id, "available")]
    assert good(service, "GET", "/v3/snapshots")["snapshots"] == []


def test_what_a_driver_can_do_is_what_it_implements(tmp_path: Path) -> None:
    """Capabilities name the protocols; what lacks a method of the core is a ConfigError that names it."""
    core = core_driver.CoreDriver("b", tmp_path / "p")
    assert isinstance(core, Driver)
    core.do_setup()
    able = capabilities_of(core)
    assert (able.protocols, able.instant_snapshot, able.instant_clone, able.instant_revert) == (
        frozenset(), False, False, False,
    )  # fmt: skip
    whole = capabilities_of(core_driver.FileDriver("b", tmp_path / "p"))
    assert whole.protocols == PROTOCOLS_OF["file-plain"]
    with pytest.raises(errors.ConfigError, match=r"it does not have .*check_room, .*create_volume"):
        check_complete(object(), "driver")


@pytest.mark.parametrize("service", ["ClusterDriver"], indirect=True)
def test_a_location_that_no_transport_serves_is_refused_at_the_attach(service: ServiceProcess) -> None:
    """400 with the transport and the scheme; nothing is exported or noted, and the volume can be deleted."""
    id = new_volume(service)
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    status, content, _ = ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version=NEWEST)
    assert (status, "nbd exports volumes at file or block locations, and this one is at rbd" in str(content)) == (
        400,
        True,
    )
    assert list((service.state / "exports").iterdir()) == []
    attachments = good(service, "GET", "/v3/attachments/detail")["attachments"]
    assert [(each["status"], each["connection_info"]) for each in attachments] == [("error_attaching", {})]
    good(service, "DELETE", f"/v3/attachments/{attachments[0]['id']}")
    service.settle()
    good(service, "DELETE", f"/v3/volumes/{id}")
    assert service.wait_status("volumes", id) == "gone"
