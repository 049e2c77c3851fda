"""Destinations that take bytes in their order only: standard output, and FIFOs."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath.sink import Sink

# The others name the same thing, and would be replaced as files if they were taken for paths.
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_STDOUT = 1


def is_standard_output(reference: str) -> bool:
    """Whether `reference` is "-" or a path of standard output."""
    return reference in _STANDARD_OUTPUT


def is_stream(reference: str) -> bool:
    """Whether `reference` is standard output or a FIFO that exists."""
    return is_standard_output(reference) or stat.S_ISFIFO(mode_of(reference))


def mode_of(reference: str | Path) -> int:
    """The mode (st_mode) of the path; 0 where stat fails: opening the path then reports why."""
    try:
        return Path(reference).stat().st_mode
    except OSError:
        return 0


@contextmanager
def open_stream(reference: str) -> Iterator[Sink]:
    """Standard output as it is, or a FIFO: that waits for its reader, as for every program."""
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
    if sys.__stdout__ is None:  # and the first file that we opened may have its number
        raise errors.InvalidInput(field="DESTINATION", value="-", reason="standard output is closed")
    if os.isatty(_STDOUT):
        raise errors.InvalidInput(
            field="DESTINATION", value="-", reason="standard output is a terminal: send it to a file or a program"
        )
    return sinks.open_stream(_STDOUT, "standard output")
