"""The records of volumes that are block devices of this host, and what sysfs and /proc report of a device."""

import contextlib
import json
import mmap
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from nbdsvc import atomic_file


@dataclass(frozen=True)
class Attached:
    """The record of a volume that is a block device of this host."""

    volume_id: str
    attachment_id: str
    device: str
    kind: str
    """Transport.name; the key of earlier versions, which wrote records of devices that are still attached."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON that Transport.disconnect needs."""


class Transport(Protocol):
    """One way to make an export a block device."""

    name: str
    grows: bool
    """Whether nbd_watch.py gives a device the size of its extended volume."""
    growth: str
    """The advice to the user where a device does not grow."""

    def serves(self, info: dict[str, Any]) -> bool:
        """Whether this host can attach the export of these connection data in this way."""

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make the device; returns (path, details). work_dir: its private folder. Removes what it made when it fails."""

    def on_recorded(self, folder: Path) -> None:
        """Start the processes that the device needs from now on. folder: holds the device's record, already stored."""

    def owns(self, attached: Attached) -> bool:
        """Whether the device is still the one that was attached: the kernel uses a device's name again."""

    def disconnect(self, work_dir: Path, attached: Attached) -> None:
        """Take the device down in any state. DeviceBusy where it stays in use."""


@runtime_checkable
class WaitingTransport(Protocol):
    """A transport whose I/O waits for minutes where the server is away."""

    def give_up(self, attached: Attached) -> None:
        """Let all I/O of the device fail, now and from now on."""


class AttachmentStore:
    """The records of attached volumes: a JSON file each in `folder`, so that another process can detach them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def work_dir(self, volume_id: str) -> Path:
        """The private folder of a volume's device."""
        return self._folder / volume_id

    def find(self, volume_id: str) -> Attached | None:
        """The record of the volume's device; None where the volume is not attached here."""
        try:
            return Attached(**json.loads(self._path(volume_id).read_text()))
        except FileNotFoundError:
            return None

    def all(self) -> list[Attached]:
        """The records of all attached volumes, ordered by volume id, without volumes that are detached meanwhile."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):
                found.append(Attached(**json.loads(path.read_text())))
        return found

    def write(self, attached: Attached) -> None:
        """Store the record, in place of an earlier one of the volume."""
        # The folder is below /run, because devices do not survive a reboot of this host either.
        atomic_file.write(self._path(attached.volume_id), json.dumps(asdict(attached)).encode(), durable=False)

    def forget(self, volume_id: str) -> None:
        """Remove the volume's record and private folder. A missing one is no error."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.work_dir(volume_id).iterdir():
                path.unlink()
            self.work_dir(volume_id).rmdir()
        self._path(volume_id).unlink(missing_ok=True)

    def _path(self, volume_id: str) -> Path:
        return self._folder / f"{volume_id}.json"


def is_nbd(info: dict[str, Any]) -> bool:
    """Whether these are the connection data of an NBD export."""
    return bool(info.get("driver_volume_type") == "nbd")


def user_of(device: str) -> str | None:
    """The user of the device: a mount, swap, or a device on top of it; None where it is unused."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target, source = line.split()[4], line.rpartition(" - ")[2].split()[1]
        if os.path.realpath(source) == device or source.startswith(f"{device}p"):
            return f"it is mounted on {target}"
    if any(line.split()[0] == device for line in Path("/proc/swaps").read_text().splitlines()[1:]):
        return "it is used as swap"
    holders = Path(f"/sys/class/block/{Path(device).name}/holders")
    found = sorted(path.name for path in holders.iterdir()) if holders.is_dir() else []
    return f"{found[0]} is built on it" if found else None


def size_of(device: str) -> int:
    """Size of the device in bytes; sysfs counts sectors of 512. OSError where there is no such device."""
    return int(Path(f"/sys/class/block/{Path(device).name}/size").read_text()) * 512


def is_read_only(device: str) -> bool:
    """Whether the kernel refuses writes to the device. OSError where there is no such device."""
    return Path(f"/sys/class/block/{Path(device).name}/ro").read_text().strip() == "1"


def flush(device: str) -> None:
    """Flush the device, so that its server has all writes on stable storage. OSError when a write is lost."""
    fd = os.open(device, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_first(device: str) -> None:
    """Read the first page of the device from its server, not from the page cache. OSError when the read fails."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as page:  # O_DIRECT needs memory that is aligned
            os.preadv(fd, [page], 0)
    finally:
        os.close(fd)
