"""Room that is kept back for the database, so that ends can still be recorded when its file system is full.

A file of some MiB beside the database. It is given up when hardly anything is free; what is then free is for detaches,
deletions and the ends of operations, because operations that add rows are refused before that (check). It is made
again when there is room. Whoever goes on filling the disk takes that room too: it is minutes for the administrator.
"""

import contextlib
import os
from pathlib import Path

import structlog

from nbdsvc import errors
from nbdsvc.units import human

log = structlog.get_logger(__name__)

# Of the reserve's size: with less than this part free the next commit may fail. A commit of ours is some pages of 4 KiB.
_LOW = 0.25


class Reserve:
    """`beside`: the database's path. size: bytes; 0 keeps nothing back."""

    def __init__(self, beside: Path, size: int) -> None:
        self.path = beside.with_name(f"{beside.name}.reserve")
        self.size = size

    def free(self) -> int:
        """Bytes that are free in the file system, the reserve not counted."""
        room = os.statvfs(self.path.parent)
        return room.f_bavail * room.f_frsize

    def short(self) -> bool:
        """Whether so little is free that nothing may be begun which leaves more rows behind than there were."""
        kept = self.size if self._is_whole() else 0
        return self.free() + kept < 2 * self.size

    def check(self) -> None:
        """Raise OutOfSpace, naming the folder, where nothing may be begun that leaves more rows behind."""
        if not self.size or not self.short():
            return
        free = self.free()
        kept = f"{human(self.size)} are kept for detach and delete"
        reason = f"{human(free)} are free where the database is, and {kept}"
        raise errors.OutOfSpace(pool=str(self.path.parent), requested=self.size, free=free, reason=reason)

    def give_up_if_low(self) -> None:
        """Before a write; costs two system calls. A file system that cannot be looked at fails the write itself."""
        with contextlib.suppress(OSError):
            if self.size and self.free() < self.size * _LOW:
                self.give_up()

    def give_up(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            log.error("the room kept back for the database is given up", path=str(self.path), bytes=self.size)

    def keep(self) -> bool:
        """Make it where there is room for it and as much again. False where it is not there."""
        if not self.size or self._is_whole():
            return True
        if self.free() < 2 * self.size:
            return False
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self.size)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        log.info("room is kept back for the database", path=str(self.path), bytes=self.size)
        return True

    def _is_whole(self) -> bool:
        return self.path.exists() and self.path.stat().st_size == self.size
