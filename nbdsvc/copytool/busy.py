"""Whether what a copy is about to overwrite is in use: a mount, a device on top, a loop device on a file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors


@contextmanager
def claimed(path: Path, source: os.stat_result | None) -> Iterator[int]:
    """The block device for us alone: its descriptor. DeviceBusy while it is mounted, swap, or below another device.

    source: of the file that is to be copied there; a loop device on that is the source itself.
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
    """DeviceBusy where a loop device or the kernel's swap lives in the file: they would go on with the old one."""
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
            continue  # detached meanwhile, or its file has no name any more
