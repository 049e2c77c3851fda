"""The example of docs/writing-a-driver.md serves volumes through the real service."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from core_driver import install
from pools import example_code
from serving import ServiceProcess

NEWEST = "volume 3.44"


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> ServiceProcess:
    (tmp_path / "example_driver.py").write_text(example_code())
    made = make_service(start=False, driver="example")
    offered = install(tmp_path, "example_driver:FolderDriver")
    made.environment["PYTHONPATH"] = os.pathsep.join((str(made.tree), offered))
    return made.start()


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def made(service: ServiceProcess, noun: str, **wanted: Any) -> str:
    id = str(good(service, "POST", f"/v3/{noun}s", {noun: wanted})[noun]["id"])
    assert service.wait_status(f"{noun}s", id) == "available"
    return id


def test_the_example_is_of_a_readable_size() -> None:
    """The page's code is a driver, of some hundred lines."""
    assert 80 <= example_code().count("\n") <= 160


@pytest.mark.row("S005", "S060")
def test_it_serves_volumes_and_snapshots(service: ServiceProcess) -> None:
    """A volume is made, written, snapshotted, attached and restored; killed on the way it goes on; deleted nothing is left."""
    folder = service.state / "pool"
    volume = made(service, "volume", size=1)
    with (folder / f"volume-{volume}").open("r+b") as file:
        file.write(b"before")
    snapshot = made(service, "snapshot", volume_id=volume)
    body = {"attachment": {"volume_uuid": volume, "connector": {"host": "me"}}}
    attachment = good(service, "POST", "/v3/attachments", body)["attachment"]
    assert attachment["connection_info"]["driver_volume_type"] == "nbd"
    good(service, "DELETE", f"/v3/attachments/{attachment['id']}")
    service.crash_at("volume.create", "after do", "allocate")
    restored = str(
        good(service, "POST", "/v3/volumes", {"volume": {"size": 2, "snapshot_id": snapshot}})["volume"]["id"]
    )
    assert service.wait_dead()
    service.start()
    assert service.wait_status("volumes", restored) == "available"
    with (folder / f"volume-{restored}").open("rb") as file:
        assert file.read(6) == b"before"
    status, content, _ = ask(service, "POST", f"/v3/volumes/{volume}/action", {"os-unmanage": {}})
    assert (status, "FolderDriver does not implement ManageDriver" in str(content)) == (400, True)
    good(service, "DELETE", f"/v3/snapshots/{snapshot}")
    assert service.wait_status("snapshots", snapshot) == "gone"
    for id in (volume, restored):
        good(service, "DELETE", f"/v3/volumes/{id}")
        assert service.wait_status("volumes", id) == "gone"
    assert [path.name for path in folder.iterdir()] == ["marker"]
