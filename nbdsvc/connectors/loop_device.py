"""Loop devices of this host: attach to a file, resize, detach, and recognise by the sequence number.

The kernel gives the name of a detached loop device to the next file, so the name alone does not identify an attachment.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors, process

# The calls and struct loop_info64 of linux/loop.h.
_CLR_FD, _SET_STATUS64, _GET_STATUS64 = 0x4C01, 0x4C04, 0x4C05
_STATUS_SIZE, _SIZE_LIMIT = 232, 32
# The kernel's name for a backing file whose file system was unmounted under the device.
_UNMOUNTED = "/"


def attach(runner: process.Runner, file: Path, size: int, *, read_only: bool) -> str:
    """Attach a free loop device to the file's first `size` bytes, with direct I/O; its path. Raises CommandFailed."""
    argv = [
        "losetup",
        "--find",
        "--show",
        "--direct-io=on",
        f"--sizelimit={size}",
        *(["--read-only"] if read_only else []),
    ]
    return runner.run([*argv, str(file)], tries=1).stdout.strip()


def sequence(device: str) -> int | None:
    """The kernel's sequence number (diskseq) of this use of the device, unique to the use. None before Linux 5.15."""
    try:
        return int((_sysfs(device) / "diskseq").read_text())
    except OSError:
        return None


def is_attached(device: str, file: str, number: int | None) -> bool:
    """Whether the device is still the one that was attached to `file`, and had this sequence number then."""
    try:
        backing = (_sysfs(device) / "loop/backing_file").read_text().rstrip("\n")
    except OSError:
        return False
    now = sequence(device)
    return backing in (file, _UNMOUNTED) if None in (now, number) else now == number


def detach(device: str, file: str, number: int | None) -> None:
    """Detach the device, unless it has another file by now. DeviceBusy when the kernel refuses.

    Between the check and the ioctl no other process can detach the device, because this process has it open.
    """
    try:
        with _opened(device) as fd:
            if is_attached(device, file, number):
                fcntl.ioctl(fd, _CLR_FD)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENXIO:  # ENXIO: the device is detached already
            raise errors.DeviceBusy(device=device, reason=f"its loop device: {error.strerror}") from error


def set_size(device: str, size: int) -> None:
    """Limit the device to `size` bytes of its file. OSError: EAGAIN while the kernel writes pages of the device."""
    with _opened(device) as fd:
        status = bytearray(_STATUS_SIZE)
        fcntl.ioctl(fd, _GET_STATUS64, status)
        struct.pack_into("=Q", status, _SIZE_LIMIT, size)
        fcntl.ioctl(fd, _SET_STATUS64, status)


@contextmanager
def _opened(device: str) -> Iterator[int]:
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _sysfs(device: str) -> Path:
    return Path("/sys/class/block") / Path(device).name
