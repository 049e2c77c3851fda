"""Destinations that can be written only in order: standard output and FIFOs."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath.sink import Sink

# The paths mean standard output like "-"; as paths of files they would be replaced by a new file.
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_STDOUT = 1


def is_standard_output(reference: str) -> bool:
    """Whether `reference` is "-" or a path of standard output."""
    return reference in _STANDARD_OUTPUT


def is_stream(reference: str) -> bool:
    """Whether `reference` is standard output or a FIFO that exists."""
    return is_standard_output(reference) or stat.S_ISFIFO(mode_of(reference))


def mode_of(reference: str | Path) -> int:
    """The mode (st_mode) of the path; 0 when stat fails: the later open then reports the reason."""
    try:
        return Path(reference).stat().st_mode
    except OSError:
        return 0


@contextmanager
def open_stream(reference: str) -> Iterator[Sink]:
    """A block with a sink over standard output or a FIFO, whose open waits for a reader.

    Raises WriteFailed, and InvalidInput when standard output is closed or a terminal.
    """
    if is_standard_output(reference):
        with _open_stdout() as sink:
            yield sink
        return
    try:
        fd = os.open(reference, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.WriteFailed(destination=reference, offset=0, reason=error.strerror or str(error)) from error
    try:
        with sinks.open_stream(fd, reference) as sink:
            yield sink
    finally:
        os.close(fd)


def _open_stdout() -> Sink:
    if sys.__stdout__ is None:  # descriptor 1 may be another open file then
        raise errors.InvalidInput(field="DESTINATION", value="-", reason="standard output is closed")
    if os.isatty(_STDOUT):
        raise errors.InvalidInput(
            field="DESTINATION", value="-", reason="standard output is a terminal: send it to a file or a program"
        )
    return sinks.open_stream(_STDOUT, "standard output")
