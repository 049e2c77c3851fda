"""os-reimage: an image written over a volume that exists."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import core_driver
import pytest
from asking import UNKNOWN, ask
from serving import HERE, ServiceProcess
from waiting import wait_until

MIB = 1 << 20
INSTANCE = "5b1a8b4e-0000-4000-8000-000000000001"
BYTES = os.urandom(2 * MIB)


class Scene:
    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        folder = service.state / "images"
        folder.mkdir(exist_ok=True)
        (folder / "small.raw").write_bytes(BYTES)
        with (folder / "large.raw").open("wb") as file:
            file.truncate(2 << 30)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "bad.qcow2", "1M"],
                       check=True, cwd=folder)  # fmt: skip
        self.images = {each["name"]: each["id"] for each in self.ask("GET", "images")[1]["images"]}

    def ask(self, method: str, path: str, body: Any = None, version: str = "3.68", **headers: str) -> tuple[int, Any]:
        found = ask(self.service, method, f"/v3/{path}", body, OpenStack_API_Version=f"volume {version}", **headers)
        return found[:2]

    def volume(self) -> str:
        """One with bytes in its first and last MiB."""
        id = str(self.ask("POST", "volumes", {"volume": {"size": 1, "name": "v"}})[1]["volume"]["id"])
        assert self.service.wait_status("volumes", id) == "available"
        with self.path(id).open("r+b") as file:
            file.write(b"\7" * MIB)
            file.seek(1023 * MIB)
            file.write(b"\7" * MIB)
        return id

    def path(self, id: str) -> Any:
        return self.service.backend.volume(self.service.state, id)

    def reimage(self, id: str, image: str, **more: Any) -> tuple[int, Any]:
        body = {"os-reimage": {"image_id": self.images.get(image, image), **more}}
        return self.ask("POST", f"volumes/{id}/action", body)

    def shown(self, id: str) -> Any:
        return self.ask("GET", f"volumes/{id}")[1]["volume"]

    def holds_image(self, id: str) -> bool:
        with self.path(id).open("rb") as file:
            return file.read(2 * MIB) == BYTES and not any(file.read(MIB)) and not _tail(file)

    def is_untouched(self, id: str) -> bool:
        with self.path(id).open("rb") as file:
            return file.read(2 * MIB) == b"\7" * MIB + bytes(MIB) and _tail(file)

    def error(self, id: str) -> str:
        rows = self.ask("GET", f"operations?resource_id={id}&sort=created_at:desc&limit=1")[1]["operations"]
        return str((rows[0]["error"] or {}).get("message", ""))


def _tail(file: Any) -> bool:
    file.seek(1023 * MIB)
    return any(file.read(MIB))


@pytest.fixture(scope="module", params=["instant", "copying"])
def scene(request: pytest.FixtureRequest, module_service: Callable[..., ServiceProcess]) -> Iterator[Scene]:
    instant = str(request.param == "instant").lower()
    return Scene(module_service(request.param, driver="memory", driver_options=f"instant_clone = {instant}"))


def test_the_volume_is_the_image_and_keeps_the_rest(scene: Scene) -> None:
    """Its bytes, and zeros behind them; bootable, with the image's metadata; name, size and type as before."""
    id = scene.volume()
    before = scene.shown(id)
    assert scene.reimage(id, "small.raw") == (202, None)
    assert scene.service.wait_status("volumes", id) == "available"
    after = scene.shown(id)
    assert scene.holds_image(id)
    assert (after["bootable"], after["volume_image_metadata"]["image_name"]) == ("true", "small.raw")
    assert {key for key in before if before[key] != after[key]} == {"updated_at", "bootable"}
    assert scene.ask("POST", f"volumes/{id}/action", {"nbdsvc-verify": {}})[0] == 202
    assert scene.service.wait_status("volumes", id) == "available"
    assert scene.error(id) == ""


def test_a_snapshot_keeps_the_bytes_of_before(scene: Scene) -> None:
    """The volume may be reverted to it afterwards."""
    id = scene.volume()
    taken = scene.ask("POST", "snapshots", {"snapshot": {"volume_id": id}})[1]["snapshot"]["id"]
    assert scene.service.wait_status("snapshots", taken) == "available"
    scene.reimage(id, "small.raw")
    assert scene.service.wait_status("volumes", id) == "available"
    assert scene.holds_image(id)
    assert scene.ask("POST", f"volumes/{id}/action", {"revert": {"snapshot_id": taken}})[0] == 202
    assert scene.service.wait_status("volumes", id) == "available"
    assert scene.is_untouched(id)


def test_in_use_never_and_reserved_only_when_it_is_said(scene: Scene) -> None:
    """A reserved volume is reserved again afterwards; a client that attaches one meanwhile waits."""
    id = scene.volume()
    made = scene.ask("POST", "attachments", {"attachment": {"volume_uuid": id, "instance_uuid": INSTANCE}})[1]
    status, content = scene.reimage(id, "small.raw")
    assert (status, "status is reserved" in str(content)) == (400, True), content
    assert scene.reimage(id, "small.raw", reimage_reserved=True)[0] == 202
    assert scene.service.wait_status("volumes", id) == "reserved"
    assert scene.holds_image(id)
    scene.ask("DELETE", f"attachments/{made['attachment']['id']}")
    attach = {"os-attach": {"instance_uuid": INSTANCE, "mountpoint": "/dev/vdb"}}
    assert scene.ask("POST", f"volumes/{id}/action", attach)[0] == 202
    for more in ({}, {"reimage_reserved": True}):
        status, content = scene.reimage(id, "small.raw", **more)
        assert (status, "status is in-use" in str(content)) == (400, True), content


@pytest.mark.parametrize(("image", "reason"), [("large.raw", "2 GiB"), ("bad.qcow2", "backing file")])
def test_what_is_no_image_for_it_leaves_it_as_it_was(scene: Scene, image: str, reason: str) -> None:
    """Too large, or dangerous: the operation says why, nothing of the volume has changed."""
    id = scene.volume()
    before = scene.shown(id)
    assert scene.reimage(id, image)[0] == 202
    assert scene.service.wait_status("volumes", id) == "available"
    assert reason in scene.error(id)
    assert scene.is_untouched(id)
    assert {key for key, value in scene.shown(id).items() if before[key] != value} == {"updated_at"}


def test_a_volume_in_error_is_repaired_by_it(scene: Scene) -> None:
    """And stays in error where the image is refused."""
    id = scene.volume()
    scene.ask("POST", f"volumes/{id}/action", {"os-reset_status": {"status": "error"}})
    scene.reimage(id, "large.raw")
    scene.service.settle()
    assert scene.shown(id)["status"] == "error"
    scene.reimage(id, "small.raw")
    assert scene.service.wait_status("volumes", id) == "available"
    assert scene.holds_image(id)


@pytest.mark.parametrize(("value", "status", "reason"), [
    ({}, 400, "image_id"), ({"image_id": "no-uuid"}, 400, "image_id"), ({"image_id": UNKNOWN}, 404, "Image"),
    ({"image_id": UNKNOWN, "more": 1}, 400, "more"), ({"image_id": UNKNOWN, "reimage_reserved": "perhaps"}, 400, "reserved"),
])  # fmt: skip
def test_what_is_refused(scene: Scene, value: Any, status: int, reason: str) -> None:
    """A body of another form by its field, an image that there is not by its id; for a volume that is not, first that."""
    found = scene.ask("POST", f"volumes/{scene.volume()}/action", {"os-reimage": value})
    assert (found[0], reason in str(found[1])) == (status, True), found
    assert "Volume" in str(scene.reimage(UNKNOWN, UNKNOWN)[1])


def test_cut_off_in_the_middle_it_is_in_error(make_service: Callable[..., ServiceProcess]) -> None:
    """A cancel after the first byte leaves mixed bytes, which its status says; another reimage repairs it."""
    service = make_service(driver="memory", copy_rate=16 * MIB)
    (service.state / "images").mkdir(exist_ok=True)
    (service.state / "images" / "noise.raw").write_bytes(os.urandom(64 * MIB))
    scene = Scene(service)
    id = scene.volume()
    scene.reimage(id, "noise.raw")
    wait_until(lambda: not scene.is_untouched(id))
    running = scene.ask("GET", f"operations?resource_id={id}&state=running")[1]["operations"][0]["id"]
    scene.ask("POST", f"operations/{running}/action", {"cancel": {}})
    assert service.wait_status("volumes", id) == "error"
    scene.reimage(id, "small.raw")
    assert service.wait_status("volumes", id) == "available"
    assert scene.holds_image(id)


def test_snapshots_that_it_could_overflow(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """Where a snapshot has room for a part of its volume's changes only, it is refused before the first byte."""
    service = make_service(start=False, driver="example")
    offered = core_driver.install(tmp_path, "core_driver:ThickSimulator")
    service.environment["PYTHONPATH"] = os.pathsep.join((str(service.tree), str(HERE), offered))
    scene = Scene(service.start())
    id = scene.volume()
    taken = scene.ask("POST", "snapshots", {"snapshot": {"volume_id": id}})[1]["snapshot"]["id"]
    assert service.wait_status("snapshots", taken) == "available"
    scene.reimage(id, "small.raw")
    assert service.wait_status("volumes", id) == "available"
    assert "could overflow" in scene.error(id)
    assert scene.is_untouched(id)
    scene.ask("DELETE", f"snapshots/{taken}")
    assert service.wait_status("snapshots", taken) == "gone"
    scene.reimage(id, "small.raw")
    assert service.wait_status("volumes", id) == "available"
    assert scene.holds_image(id)


def test_the_command_line(scene: Scene) -> None:
    """`nbdsvc volume reimage` waits for it, and says what is wrong."""
    id = scene.volume()
    environment = {**os.environ, "NBDSVC_ENDPOINT": scene.service.url, "NBDSVC_PROJECT": "p1"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "nbdsvc", "volume", "reimage", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment)

    done = run(id, "small.raw")
    assert done.returncode == 0, done.stderr
    assert scene.holds_image(id)
    assert "nowhere" in run(id, "nowhere").stderr
