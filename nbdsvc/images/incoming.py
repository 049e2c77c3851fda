"""Sources that give their bytes once and in order: standard input, pipes and sockets.

Nothing is known of them before their end, neither size nor format. So they are kept in a file without a name in the
temporary folder (TMPDIR), which ends with the program, and are inspected and read there as any file is. Zeros take no room.
"""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.units import KiB, MiB

_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STDIN = 0
NAME = "standard input"
_READ, _GRAIN = MiB, 64 * KiB


def is_incoming(reference: str) -> bool:
    """Whether its bytes come once. Standard input that was redirected from a file's beginning is that file."""
    if reference not in _STANDARD_INPUT:
        return _is_once(_mode_of(reference))
    return not _is_at_the_beginning_of_a_file()


@contextmanager
def collect(reference: str) -> Iterator[int]:
    """All of it, in a file without a name: its descriptor. ReadFailed, InvalidInput, or OutOfSpace of the folder."""
    name = NAME if reference in _STANDARD_INPUT else reference
    fd = _open(reference, name)
    try:
        kept = _make()
        try:
            _move(fd, name, kept)
            yield kept
        finally:
            os.close(kept)
    finally:
        os.close(fd)


def name_of(reference: str) -> Path:
    """For messages."""
    return Path(NAME if reference in _STANDARD_INPUT else reference)


@contextmanager
def named(fd: int) -> Iterator[int]:
    """The file has a name meanwhile, for a child that opens it: a descriptor that was opened by that name."""
    path = Path(tempfile.mkdtemp(prefix="nbdsvc-incoming-")) / "image"
    folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), path, src_dir_fd=folder)
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield other
        finally:
            os.close(other)
    except OSError as error:
        raise _full(error) from error
    finally:
        os.close(folder)
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _is_once(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _mode_of(reference: str) -> int:
    try:
        return Path(reference).stat().st_mode if not reference.endswith("/") else 0
    except (OSError, ValueError):
        return 0


def _is_at_the_beginning_of_a_file() -> bool:
    with contextlib.suppress(OSError):
        mode = os.fstat(_STDIN).st_mode
        return (stat.S_ISREG(mode) or stat.S_ISBLK(mode)) and os.lseek(_STDIN, 0, os.SEEK_CUR) == 0
    return False


def _open(reference: str, name: str) -> int:
    if reference not in _STANDARD_INPUT:
        try:
            return os.open(reference, os.O_RDONLY | os.O_CLOEXEC)  # a FIFO waits for its writer, as for every program
        except OSError as error:
            reason = "it is a socket" if stat.S_ISSOCK(_mode_of(reference)) else error.strerror or str(error)
            raise errors.ReadFailed(source=name, offset=0, reason=reason) from error
    if sys.__stdin__ is None:  # and the first file that we opened may have its number
        raise errors.InvalidInput(field="SOURCE", value="-", reason="standard input is closed")
    if os.isatty(_STDIN):
        raise errors.InvalidInput(field="SOURCE", value="-", reason="standard input is a terminal")
    return os.dup(_STDIN)


def _make() -> int:
    folder = tempfile.gettempdir()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _full(error) from error


def _move(fd: int, name: str, kept: int) -> None:
    at = 0
    while True:
        try:
            piece = os.read(fd, _READ)
        except OSError as error:
            raise errors.ReadFailed(source=name, offset=at, reason=error.strerror or str(error)) from error
        if not piece:
            break
        _keep(kept, piece, at)
        at += len(piece)
    try:
        os.ftruncate(kept, at)
    except OSError as error:
        raise _full(error) from error


def _keep(kept: int, piece: bytes, at: int) -> None:
    for start in range(0, len(piece), _GRAIN):
        part = piece[start : start + _GRAIN]
        done = len(part) if part.count(0) == len(part) else 0
        try:
            while done < len(part):
                done += os.pwrite(kept, part[done:], at + start + done)
        except OSError as error:
            raise _full(error) from error


def _full(error: OSError) -> errors.WriteFailed:
    where = f"a temporary file in {tempfile.gettempdir()} (TMPDIR)"
    return errors.WriteFailed(destination=where, offset=0, reason=error.strerror or str(error))
