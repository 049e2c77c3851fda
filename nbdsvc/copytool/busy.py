"""Whether a copy's destination is in use: by a mount, by a device on top of it, or by a loop device on the file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors


@contextmanager
def claimed(path: Path, source: os.stat_result | None) -> Iterator[int]:
    """A block with a descriptor that has the block device exclusively (O_EXCL).

    source: the status of the source file; a loop device on that file would be the source itself. Raises DeviceBusy
    while the device is mounted, swap, or below another device; Conflict when it is the source; WriteFailed.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            reason = "it is mounted, used as swap, or another device is built on it"
            raise errors.DeviceBusy(device=str(path), reason=reason) from error
        raise errors.WriteFailed(destination=str(path), offset=0, reason=error.strerror or str(error)) from error
    try:
        device = Path(os.path.realpath(path)).name
        if source and any(name == device and os.path.samestat(file, source) for name, file in _loops()):
            raise errors.Conflict(reason=f"{path} is a loop device on the source itself")
        yield fd
    finally:
        os.close(fd)


def check_file(path: Path) -> None:
    """Raise DeviceBusy when a loop device or swap uses the file: these would go on to use the replaced file."""
    wanted = path.stat()
    for name, file in _loops():
        if os.path.samestat(file, wanted):
            raise errors.DeviceBusy(device=str(path), reason=f"/dev/{name} is a loop device on it")
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        if line.split()[0] == str(path):
            raise errors.DeviceBusy(device=str(path), reason="it is used as swap")


def _loops() -> Iterator[tuple[str, os.stat_result]]:
    """(name, status of its file) of each loop device."""
    for note in Path("/sys/class/block").glob("loop*/loop/backing_file"):
        try:
            yield note.parent.parent.name, Path(note.read_text().rstrip("\n")).stat()
        except OSError:
            continue  # the loop device was detached meanwhile, or its file was unlinked
