"""An inspected file as a source, by its descriptor; and how an image is to be opened."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped
from nbdsvc.datapath.source import Source
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.spool import NO_SPOOL, Spool
from nbdsvc.units import TiB


@dataclass(frozen=True)
class How:
    """How an image is to be opened. declared: its format; disk, snapshot: which one in it.

    most: bytes that a raw disk of unknown size may unpack to. spool: for what is not read in place. should_stop: looked
    at all the time; when it says so, the opening ends with Stopped.
    """

    declared: str | None = None
    disk: str | None = None
    snapshot: str | None = None
    most: int = 64 * TiB
    spool: Spool = NO_SPOOL
    should_stop: Callable[[], bool] = lambda: False

    def check_stop(self) -> None:
        """Raise Stopped when `should_stop` says so."""
        if self.should_stop():
            raise Stopped


PLAIN = How()


def reader(fd: int) -> Callable[[int, int], bytes]:
    """A function (offset, length) -> bytes over a duplicate of the descriptor, which is closed with the function."""
    file = os.fdopen(os.dup(fd), "rb", buffering=0)
    return lambda at, length: os.pread(file.fileno(), length, at)


def open_fd(fd: int, facts: ImageFacts, name: str, snapshot: str | None = None, spool: Spool = NO_SPOOL) -> Source:
    """An inspected file or device; the descriptor stays the caller's."""
    if snapshot is not None and (facts.format != "qcow2" or facts.is_foreign):
        of = f"a source in the format {facts.format}"
        raise errors.Unsupported(reason=f"--snapshot {snapshot}: {of} has no snapshots that are read here")
    if not facts.is_foreign:
        source = sources.open_fd(fd, "raw" if facts.is_plain else facts.format, name, snapshot)
        return cut_footer(source, facts)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise errors.Unsupported(reason=f"{facts.format} is read from a file only")
    from nbdsvc.images import sandbox

    return sandbox.open_fd(fd, facts, name, spool)


def cut_footer(source: Source, facts: ImageFacts) -> Source:
    """Cut the footer of a fixed VHD off the source. A device keeps its size."""
    if facts.is_plain and facts.virtual_size:
        source.cut(facts.virtual_size)
    return source
