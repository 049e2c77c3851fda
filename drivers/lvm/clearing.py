"""Bytes of LVs that no client may see any more: zeros for new LVs, and the removal of deleted ones in the background.

An LV to be cleared is cut from its end: a piece is cleared, then the LV is shortened by it. So its length says how far it
is, a killed sweep goes on where it was, and what is cleared is free at once.
"""

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from drivers.lvm.commands import Commands
from drivers.lvm.facts import TRASH, LogicalVolume
from nbdsvc import errors
from nbdsvc.units import GiB, MiB

log = structlog.get_logger(__name__)

NONE, DISCARD, ZERO = POLICIES = ("none", "discard", "zero")
# linux/fs.h: _IO(0x12, 119) and _IO(0x12, 127), each with a pointer to two 64-bit numbers.
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F
# Bytes of one ioctl, which returns when its range is cleared: short enough for pauses, long enough for speed.
PIECE = 32 * MiB
# How much is cleared between two commits of metadata, and lost by a kill.
CUT = 4 * GiB
# A sweep uses half of a disk's time: after each piece it pauses as long as the piece took.
SHARE = 0.5
_UNABLE = (errno.ENOTTY, errno.EOPNOTSUPP)


def zero(path: Path, start: int, length: int, pause: Callable[[float], None] = time.sleep, share: float = 1.0) -> None:
    """Zero `length` bytes of a device from `start`, by the device itself where it can. OSError while it is in use."""
    _clear(path, BLKZEROOUT, start, length, pause, share)


def discard(
    path: Path, start: int, length: int, pause: Callable[[float], None] = time.sleep, share: float = 1.0
) -> None:
    """Discard `length` bytes of a device from `start`. A device that cannot discard keeps them."""
    try:
        _clear(path, BLKDISCARD, start, length, pause, share)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise


def _clear(path: Path, request: int, start: int, length: int, pause: Callable[[float], None], share: float) -> None:
    # O_EXCL fails while the device is mounted or claimed by another program.
    fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        for offset in range(start, start + length, PIECE):
            began = time.monotonic()
            fcntl.ioctl(fd, request, struct.pack("=QQ", offset, min(PIECE, start + length - offset)))
            if share < 1:
                pause((time.monotonic() - began) * (1 - share) / share)
        os.fsync(fd)
    finally:
        os.close(fd)


class Sweeper:
    """Clears and removes what was deleted, one LV after another, on a thread that ends when nothing is left."""

    def __init__(self, lvm: Commands, policy: str, cut: int = CUT, pause: Callable[[float], None] = time.sleep) -> None:
        self._lvm = lvm
        self._policy = policy
        self._cut = cut
        self._pause = pause
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def removes_at_once(self) -> bool:
        """Whether deleted LVs need no clearing, so that the caller removes them itself."""
        return self._policy == NONE

    def start(self) -> None:
        """Start the thread unless it runs. An LV that is deleted while it runs is cleared too."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._sweep_logged, name="sweeper", daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; whether the thread has ended."""
        thread = self._thread
        if thread:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def sweep(self) -> None:
        """Clear and remove every deleted LV now. One that is open is left for the next sweep."""
        busy: set[str] = set()
        while found := next((lv for lv in self._trash() if lv.name not in busy), None):
            try:
                self._remove(found)
            except (errors.Error, OSError) as error:
                log.warning("cannot clear a deleted volume yet", name=found.name, reason=str(error))
                busy.add(found.name)

    def _sweep_logged(self) -> None:
        try:
            self.sweep()
        except errors.Error as error:
            log.warning("clearing of deleted volumes stopped; it goes on later", reason=str(error))

    def _trash(self) -> list[LogicalVolume]:
        return [lv for lv in self._lvm.volumes() if lv.name.startswith(TRASH)]

    def _remove(self, found: LogicalVolume) -> None:
        self._clear(found)
        self._lvm.remove(found.name)

    def _clear(self, found: LogicalVolume) -> None:
        """Clear the LV from its end. Its first bytes go before, so that nothing finds a file system in it."""
        path, size = self._lvm.path(found.name), found.size
        if not found.active:
            self._lvm.activate(found.name)
        zero(path, 0, min(size, MiB))
        clear = zero if self._policy == ZERO else discard
        while size:
            start = max(0, (size - 1) // self._cut * self._cut)
            clear(path, start, size - start, self._pause, SHARE)
            if start:
                self._lvm.shrink(found.name, start)
            size = start
