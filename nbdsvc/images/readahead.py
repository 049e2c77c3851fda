"""Reads ahead in a file that is far away: requests as large as the order of reads allows, and the next one in time.

A compressed image is read by clusters of some ten KiB, and each as a request of its own would cost the network's delay.
So bytes are fetched in windows. A read that goes on where a window ended gets one twice as large (as Linux does for
files), and when the middle of a large window is reached the next is fetched meanwhile. Reads out of order stay small.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from nbdsvc.datapath.source import CALLBACK_THREADS
from nbdsvc.units import KiB, MiB

Fetch = Callable[[int, int], bytes]
# Bytes. The first is a cluster of qcow2; at the last a link of 1 GBit/s with 10 ms of delay is busy for three quarters.
FIRST, LAST = 64 * KiB, 4 * MiB
# A reader that leaves out no more than this still reads in order: tables stand between an image's clusters.
GAP = 256 * KiB
# Where order is proved, the next window is fetched before it is requested.
AHEAD_FROM = 512 * KiB
# Windows kept: each thread of a copy has one that it reads, and the one after it may be under way; fewer, and each thread
# pushes out what another is about to read. At most 80 MiB.
KEPT = 2 * CALLBACK_THREADS + 4


@dataclass(eq=False)
class _Window:
    start: int
    length: int
    content: Future[bytes] = field(default_factory=Future)
    is_followed: bool = False

    @property
    def end(self) -> int:
        return self.start + self.length


class ReadAhead:
    """`pread` of a file of `size` bytes whose bytes come from `fetch`. Thread-safe, if `fetch` is.

    A fetch that fails is the error of those who wait for it, and tried again by the next read.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._lock = threading.Lock()
        self._windows: list[_Window] = []  # in order of use, the most recent last

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or fetch's error."""
        if offset + length > self._size:
            return self._fetch(offset, length)  # the read of the file raises the error
        parts = []
        while length:
            window, is_new = self._window_at(offset, length)
            if is_new:
                self._fill(window)
            follower = self._follower(window, offset)
            if follower:
                # A daemon: a server that never answers must not keep the process from ending.
                threading.Thread(target=self._fill, args=(follower,), name="read-ahead", daemon=True).start()
            at = offset - window.start
            parts.append(window.content.result()[at : at + length])
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _window_at(self, offset: int, length: int) -> tuple[_Window, bool]:
        """The window that holds the byte at offset, and whether it is new and the caller's to fill."""
        with self._lock:
            found = next((window for window in self._windows if window.start <= offset < window.end), None)
            if found is None:
                before = [window for window in self._windows if window.end <= offset <= window.end + GAP]
                wanted = max([FIRST, *(min(2 * window.length, LAST) for window in before)])
                made = self._make(offset, max(wanted, length))
                return made, True
            self._windows.remove(found)
            self._windows.append(found)
            return found, False

    def _follower(self, window: _Window, offset: int) -> _Window | None:
        """The window behind this one, once, when its reader is past the middle."""
        with self._lock:
            if window.is_followed or window.length < AHEAD_FROM or offset < window.start + window.length // 2:
                return None
            window.is_followed = True
            if window.end >= self._size or any(other.start <= window.end < other.end for other in self._windows):
                return None
            return self._make(window.end, min(2 * window.length, LAST))

    def _make(self, start: int, length: int) -> _Window:
        made = _Window(start, min(length, self._size - start))
        self._windows = [*self._windows[1 - KEPT :], made]
        return made

    def _fill(self, window: _Window) -> None:
        try:
            window.content.set_result(self._fetch(window.start, window.length))
        except BaseException as error:
            with self._lock:
                self._windows = [other for other in self._windows if other is not window]
            window.content.set_exception(error)
