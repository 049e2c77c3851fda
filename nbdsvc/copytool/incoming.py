"""Sources that can be read only once and in order: standard input, pipes and sockets.

Neither size nor format is known before the end of the stream. So the bytes are stored in the spool, and inspected and
read there like any file.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.images.spool import PIECE, Spool

_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_STDIN = 0
NAME = "standard input"


def is_incoming(reference: str) -> bool:
    """Whether the source can be read only once. Standard input at the beginning of a file is read as that file."""
    if reference not in _STANDARD_INPUT:
        return _is_once(_mode_of(reference))
    return not _is_at_the_beginning_of_a_file()


@contextmanager
def collect(reference: str, spool: Spool) -> Iterator[int]:
    """A block with a descriptor of the spooled file that has all bytes of the source.

    Raises ReadFailed, InvalidInput, BadImage, and WriteFailed when the spool's folder cannot be written.
    """
    name = str(name_of(reference))
    spool.check(name, "what comes once is kept on disk while it is read")
    fd = _open(reference, name)
    try:
        kept = spool.make()
        try:
            _move(fd, name, kept, spool)
            with spool.named(kept) as named:
                yield named
        finally:
            os.close(kept)
    finally:
        os.close(fd)


def name_of(reference: str) -> Path:
    """The source's name in messages."""
    return Path(NAME if reference in _STANDARD_INPUT else reference)


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
            return os.open(reference, os.O_RDONLY | os.O_CLOEXEC)  # opening a FIFO waits for its writer
        except OSError as error:
            reason = "it is a socket" if stat.S_ISSOCK(_mode_of(reference)) else error.strerror or str(error)
            raise errors.ReadFailed(source=name, offset=0, reason=reason) from error
    if sys.__stdin__ is None:  # descriptor 0 may be another open file then
        raise errors.InvalidInput(field="SOURCE", value="-", reason="standard input is closed")
    if os.isatty(_STDIN):
        raise errors.InvalidInput(field="SOURCE", value="-", reason="standard input is a terminal")
    return os.dup(_STDIN)


def _move(fd: int, name: str, kept: int, spool: Spool) -> None:
    at = 0
    while True:
        try:
            piece = os.read(fd, PIECE)
        except OSError as error:
            raise errors.ReadFailed(source=name, offset=at, reason=error.strerror or str(error)) from error
        if not piece:
            break
        spool.take(len(piece), name)
        spool.keep(kept, piece, at)
        at += len(piece)
    spool.end(kept, at)
