"""A source that would take long to read, and how much of it was read before and after the copy was stopped."""

import os
import threading
import time

from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import Source

MIB = 1 << 20
# For each thread the read that it is in, and those that it begins until the copy looks whether to stop: one tick, of 50 ms.
THREADS = 4
IN_HAND = 4 * THREADS


class EndlessSource:
    """1 TiB of random bytes, 20 ms a read. The copy is to stop when so many reads were made."""

    def __init__(self, reads: int = 20) -> None:
        self._reads, self._until = 0, reads
        self._lock = threading.Lock()
        self.late = 0

    def open(self) -> Source:
        return sources.open_callback(self._read, 1 << 40, "raw", "endless")

    def should_stop(self) -> bool:
        return self._reads >= self._until

    def _read(self, _at: int, length: int) -> bytes:
        time.sleep(0.02)
        with self._lock:
            self.late += self.should_stop()
            self._reads += 1
        return os.urandom(min(length, MIB)).ljust(length, b"x")
