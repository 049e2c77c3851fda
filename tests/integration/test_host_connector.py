"""Devices of this host at their edges: names that are used again, faults and interrupts in the middle of an attach."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nbdkits import nbdkit

from nbdsvc import errors, process
from nbdsvc.connectors import fuse_loop, loop_device
from nbdsvc.connectors.attachment_store import Attached, size_of
from nbdsvc.connectors.fuse_loop import FuseLoop
from nbdsvc.connectors.host import HostConnector
from nbdsvc.connectors.kernel_nbd import KernelNbd
from nbdsvc.units import MiB

ID = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01"


@pytest.fixture
def info(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Connection data of an export of 64 MiB."""
    with nbdkit(tmp_path, "memory", "64M") as (uri, _):
        path = uri.partition("socket=")[2]
        yield {"driver_volume_type": "nbd", "export": "x", "uri": f"nbd+unix:///x?socket={path}", "unix_socket": path}


@pytest.fixture
def connector(tmp_path: Path) -> HostConnector:
    """Of FUSE and loop devices only."""
    return HostConnector(tmp_path / "attached", transports=[FuseLoop(process.Runner())])


def backing(device: str) -> str | None:
    try:
        return Path(f"/sys/class/block/{Path(device).name}/loop/backing_file").read_text().strip()
    except OSError:
        return None


def shows(device: str, folder: Path) -> bool:
    """Whether the device shows a file of the folder, or of a mount that is gone. Its name may be another test's by now."""
    found = backing(device)
    return found is not None and (found == "/" or found.startswith(f"{folder}/"))


def mounts_below(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {folder}/" in line]


@pytest.mark.parametrize("record", ["now", "of an older version"])
def test_a_loop_device_that_another_has_by_now_is_left_alone(
    connector: HostConnector, info: dict[str, Any], tmp_path: Path, record: str
) -> None:
    """A name is given to another file, which is mounted: it is neither resized nor flushed nor detached nor a hindrance."""
    attached = connector.attach("v", ID, info)
    subprocess.run(["losetup", "--detach", attached.device], check=True)
    other, mounted = tmp_path / "other", tmp_path / "mounted"
    mounted.mkdir()
    other.touch()
    os.truncate(other, 16 * MiB)
    subprocess.run(["mkfs.ext4", "-q", other], check=True)
    # Freed names go to whoever comes first, on a machine with other tests too: so the record gets the other's name.
    attached = replace(attached, device=loop_device.attach(process.Runner(), other, 16 * MiB, read_only=False))
    try:
        subprocess.run(["mount", attached.device, mounted], check=True)
        if record != "now":
            old = {key: value for key, value in attached.details.items() if key != "sequence"}
            attached = replace(attached, details=old)
        assert fuse_loop.grow(attached) is None
        connector.detach(attached)
        assert (backing(attached.device), size_of(attached.device)) == (str(other), 16 * MiB)
    finally:
        subprocess.run(["umount", mounted], check=True)
        subprocess.run(["losetup", "--detach", attached.device], check=True)
    assert (connector.all(), mounts_below(tmp_path)) == ([], [])


def test_a_file_of_the_same_name_is_no_proof(tmp_path: Path) -> None:
    """The same file attached again is another attachment, where the kernel numbers them."""
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, MiB)
    device = loop_device.attach(process.Runner(), file, MiB, read_only=True)
    first = loop_device.sequence(device)
    assert first is not None
    loop_device.detach(device, str(file), first)
    assert not loop_device.is_attached(device, str(file), first)
    loop_device.detach(device, str(file), first)  # the first device is detached
    device = loop_device.attach(process.Runner(), file, MiB, read_only=True)
    try:
        loop_device.detach(device, str(file), first)
        assert backing(device) == str(file)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_pid_that_another_has_by_now_holds_up_nothing(
    connector: HostConnector, info: dict[str, Any], tmp_path: Path
) -> None:
    """nbdfuse was killed, and its pid is another program's: the detach does not wait for that one."""
    attached = connector.attach("v", ID, info)
    os.kill(attached.details["pid"], signal.SIGKILL)
    other = subprocess.Popen(["sleep", "300"])
    try:
        connector.detach(replace(attached, details={**attached.details, "pid": other.pid}), force=True)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert (connector.all(), mounts_below(tmp_path), shows(attached.device, tmp_path)) == ([], [], False)


class _Failing(FuseLoop):
    """Attaches, and then what comes next fails: `why` is raised in `where`."""

    def __init__(self, why: BaseException, where: str) -> None:
        super().__init__(process.Runner())
        self._why, self._where = why, where
        self.device = ""

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if self._where == "connect":
            raise self._why
        self.device, details = super().connect(work_dir, attachment_id, info)
        if self._where == "record":
            work_dir.with_suffix(".json").mkdir()  # a folder, which no file can replace
        return self.device, details

    def on_recorded(self, folder: Path) -> None:
        if self._where == "recorded":
            raise self._why


@pytest.mark.parametrize("why", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["connect", "record", "recorded"])
def test_an_attach_that_fails_leaves_nothing(
    tmp_path: Path, info: dict[str, Any], why: BaseException, where: str
) -> None:
    """Whatever ends it, wherever: no device, no mount, no record, no folder."""
    kind, folder = _Failing(why, where), tmp_path / "attached"
    with pytest.raises((OSError, KeyboardInterrupt)):
        HostConnector(folder, transports=[kind]).attach("v", ID, info)
    if where == "record":
        folder.joinpath("v.json").rmdir()
    assert (mounts_below(tmp_path), list(folder.iterdir())) == ([], [])
    assert not kind.device or not shows(kind.device, tmp_path)


class _Interrupted(process.Runner):
    """The user presses ^C while losetup runs."""

    def run(self, argv: Sequence[str], **options: Any) -> process.Completed:
        if argv[0] == "losetup":
            raise KeyboardInterrupt
        return super().run(argv, **options)


def test_an_interrupt_in_the_middle_unmounts(tmp_path: Path, info: dict[str, Any]) -> None:
    """nbdfuse serves already when the attach is interrupted: it ends, and its mount with it."""
    folder = tmp_path / "attached"
    with pytest.raises(KeyboardInterrupt):
        HostConnector(folder, transports=[FuseLoop(_Interrupted())]).attach("v", ID, info)
    assert (mounts_below(tmp_path), list(folder.iterdir())) == ([], [])


class _Kernel:
    """Takes sockets for a device that this host does not have."""

    INDEX = 4095

    def __init__(self) -> None:
        self.ended: list[int] = []

    def connect(self, fds: Sequence[int], **_facts: Any) -> int:
        return self.INDEX

    def disconnect(self, index: int) -> None:
        self.ended.append(index)


def test_a_device_that_does_not_come_up_is_disconnected(tmp_path: Path, info: dict[str, Any]) -> None:
    """The kernel took the connections and shows no device in time: they end, and the attach says so."""
    kernel = _Kernel()
    kind = KernelNbd(process.Runner(), client=lambda: kernel, settle=0.2)
    with pytest.raises(errors.DeviceBusy, match="does not come up"):
        kind.connect(tmp_path, ID, info)
    assert kernel.ended == [kernel.INDEX]
    kind.disconnect(tmp_path, Attached("v", ID, f"/dev/nbd{kernel.INDEX}", kind.name, {"index": kernel.INDEX}))
    assert kernel.ended == [kernel.INDEX] * 2
