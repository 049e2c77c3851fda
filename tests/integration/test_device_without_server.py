"""A FUSE device over the network, with TLS, whose server dies: it goes on with the next one, or ends by force."""

import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exporting import ensure
from waiting import end_of, wait_until

from nbdsvc import process
from nbdsvc.connectors.attachment_store import Attached
from nbdsvc.connectors.fuse_loop import FuseLoop
from nbdsvc.connectors.host import FORCE_SECONDS, HostConnector
from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.exports.nbd.processes import serving
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

# Other workers of this run have other ports.
PORT = 23960 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
SLOT = 4096
TLS = Access(network=True, needs_secret=True)


def session(leader: int) -> list[str]:
    """The processes of a session that run, as /proc has them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[3]) == leader and words[0] != "Z":
                found.append(stat.with_name("cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Device:
    """An exported volume of 8 MiB and, with `attach`, its device on this host."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.file = folder, folder / "volume"
        self.file.touch()
        os.truncate(self.file, 8 * MiB)
        self.exporter = NbdExporter(root, "me", "127.0.0.1", (PORT, PORT))
        self.connector = HostConnector(folder / "attached", transports=[FuseLoop(process.Runner())])
        self.attached: Attached | None = None

    def attach(self, mode: str) -> Attached:
        volume = names.new_id()
        self.spec = ExportSpec(
            names.new_id(), volume, Location.file(self.file), TLS, read_only=mode == "ro", secret=secrets.token_hex(32)
        )
        self.start()
        self.attached = self.connector.attach(volume, self.spec.id, self._info())
        return self.attached

    def _info(self) -> dict[str, Any]:
        assert self.spec.secret
        info = self.exporter.with_secret(self.exporter.ensure(self.spec), self.spec.secret)
        return {"driver_volume_type": "nbd", **info.data}

    def start(self) -> None:
        self.keeper = ensure(self.exporter, self.spec).pid
        self.server = max(serving(self.exporter._root)[self.spec.id] - {self.keeper})

    def stop(self, how: signal.Signals) -> None:
        """The server dies with the shell that keeps it; a stopped one holds its connections and says nothing."""
        os.kill(self.keeper, how)
        if how == signal.SIGSTOP:
            os.kill(self.server, how)
        else:
            wait_until(lambda: not self.exporter.health(self.spec.id).ok)

    def left(self) -> list[str]:
        """Of the device on this host."""
        assert self.attached
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.folder) in line]
        folder = [str(path) for path in self.connector._folder.iterdir()]
        owned = [self.attached.device] if self.connector._named(self.attached).owns(self.attached) else []
        return mounts + folder + owned + session(self.attached.details["pid"])

    def end(self) -> None:
        """Whatever a test that failed has left."""
        self.exporter.remove(self.spec.id)
        if self.attached and self.left():
            FuseLoop(process.Runner()).give_up(self.attached)
            self.connector.detach(self.attached, force=True)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as root:
        made = Device(tmp_path, Path(root))
        yield made
        made.end()


class Writer(threading.Thread):
    """Writes numbers to the slots of a device, each to stable storage; `numbers`: what was acknowledged, by slot."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self._fd = os.open(device, os.O_RDWR)
        self.numbers: dict[int, int] = {}
        self.last, self.ends, self.error = 0, False, ""

    def run(self) -> None:
        try:
            while not self.ends:
                number = self.last + 1
                os.pwrite(self._fd, number.to_bytes(8, "little"), number % 64 * SLOT)
                os.fsync(self._fd)
                self.numbers[number % 64] = self.last = number
        except OSError as error:
            self.error = str(error)
        finally:
            os.close(self._fd)

    def await_more(self) -> None:
        goal = self.last + 20
        wait_until(lambda: self.last > goal or self.error, facts=lambda: self.last)
        assert not self.error


def test_a_device_goes_on_after_its_server_was_killed(device: Device) -> None:
    """Killed and started again under writes, three times: none fails, and none that was acknowledged is missing."""
    attached = device.attach("rw")
    writer = Writer(attached.device)
    writer.start()
    for _ in range(3):
        writer.await_more()
        device.stop(signal.SIGKILL)
        before = writer.last
        time.sleep(0.3)  # attempts to connect are refused meanwhile
        assert writer.last <= before + 1
        device.start()
        writer.await_more()
    writer.ends = True
    writer.join(60)
    assert (writer.is_alive(), writer.error) == (False, "")
    end_of(lambda: device.connector.detach(attached))
    with device.file.open("rb") as file:
        for slot, number in writer.numbers.items():
            file.seek(slot * SLOT)
            assert int.from_bytes(file.read(8), "little") == number
    wait_until(lambda: not device.left(), facts=device.left)


@pytest.mark.parametrize(
    ("mode", "how"), [("rw", signal.SIGKILL), ("rw", signal.SIGSTOP), ("ro", signal.SIGKILL)], ids=str
)
def test_a_detach_by_force_ends_without_a_server(device: Device, mode: str, how: signal.Signals) -> None:
    """Another program waits in the kernel for the server that is gone, or says nothing: it gets an error, no device, mount,
    record or process stays.
    """
    attached = device.attach(mode)
    device.stop(how)
    words = [f"if={attached.device}", "of=/dev/null", "iflag=direct"]
    if mode == "rw":
        words = ["if=/dev/zero", f"of={attached.device}", "conv=fsync"]
    user = subprocess.Popen(["dd", "bs=64k", "count=4", *words])
    wait_until(lambda: state(user.pid) == "D")
    end_of(lambda: device.connector.detach(attached, force=True), FORCE_SECONDS + 30)
    assert user.wait(30) == 1
    wait_until(lambda: not device.left(), facts=device.left)


def test_a_client_that_died_without_a_server_leaves_no_process(device: Device) -> None:
    """nbdfuse is killed while nbdkit behind it waits for a server that says nothing: nbdkit ends, too, although its request has no answer."""
    attached = device.attach("rw")
    device.stop(signal.SIGSTOP)
    user = subprocess.Popen(["dd", "if=/dev/zero", f"of={attached.device}", "bs=64k", "count=4", "conv=fsync"])
    wait_until(lambda: state(user.pid) == "D")
    os.kill(attached.details["pid"], signal.SIGKILL)
    assert user.wait(30) == 1
    # dial.py itself ends the connection to a server that says nothing, but after 30 seconds.
    wait_until(lambda: not session(attached.details["pid"]), 20, facts=lambda: session(attached.details["pid"]))
    end_of(lambda: device.connector.detach(attached, force=True))
    wait_until(lambda: not device.left(), facts=device.left)
