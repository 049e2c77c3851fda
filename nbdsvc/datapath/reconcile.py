"""Make one file or device read like another by writing only what differs.

This reverts a volume to its snapshot. Unchanged bytes are read and compared and not written, so that a snapshot which
stores the old bytes of its origin needs no space for them. An interrupted run is repeated from the beginning.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.units import KiB, MiB

# Bytes of one read, and bytes of one write: the smallest chunk of a classic LVM snapshot.
PIECE, CHUNK = 4 * MiB, 4 * KiB


def reconcile(
    source: Path,
    destination: Path,
    size: int,
    on_progress: Callable[[int, int, int], None],
    should_stop: Callable[[], bool],
) -> int | None:
    """The number of bytes written, now on stable storage; None when `should_stop` was true. size: bytes.

    Raises ReadFailed or WriteFailed.
    """
    written = 0
    with _opened(source, os.O_RDONLY) as wanted, _opened(destination, os.O_RDWR) as present:
        for offset in range(0, size, PIECE):
            if should_stop():
                return None
            length = min(PIECE, size - offset)
            if _is_hole(wanted, offset, length) and _is_hole(present, offset, length):
                on_progress(offset + length, size, written)
                continue
            new, old = _read(wanted, source, offset, length), _read(present, destination, offset, length)
            if new != old:
                written += _write_differing(present, destination, offset, new, old)
            on_progress(offset + length, size, written)
        try:
            os.fsync(present)
        except OSError as error:
            raise _failed(destination, 0, error) from error
    return written


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise errors.ReadFailed(source=path.name, offset=0, reason=error.strerror or str(error)) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _is_hole(fd: int, offset: int, length: int) -> bool:
    """Whether these bytes are a hole, which reads as zeros. False for a device, and when holes are not reported."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:  # ENXIO: no data up to the end of the file, which may be before the end of the piece
        return error.errno == errno.ENXIO and os.fstat(fd).st_size >= offset + length


def _read(fd: int, path: Path, offset: int, length: int) -> bytes:
    try:
        found = os.pread(fd, length, offset)
    except OSError as error:
        raise errors.ReadFailed(source=path.name, offset=offset, reason=error.strerror or str(error)) from error
    if len(found) != length:
        raise errors.ReadFailed(source=path.name, offset=offset, reason=f"{len(found)} bytes instead of {length}")
    return found


def _write_differing(fd: int, path: Path, offset: int, new: bytes, old: bytes) -> int:
    written = 0
    for at in range(0, len(new), CHUNK):
        piece = new[at : at + CHUNK]
        if piece != old[at : at + CHUNK]:
            _write(fd, path, offset + at, piece)
            written += len(piece)
    return written


def _write(fd: int, path: Path, offset: int, content: bytes) -> None:
    """Write all bytes; a short write is continued, because the next write reports the error. Raises WriteFailed."""
    done = 0
    while done < len(content):
        try:
            done += os.pwrite(fd, content[done:], offset + done)
        except OSError as error:
            raise _failed(path, offset + done, error) from error


def _failed(path: Path, offset: int, error: OSError) -> errors.WriteFailed:
    return errors.WriteFailed(destination=path.name, offset=offset, reason=error.strerror or str(error))
