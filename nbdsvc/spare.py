"""Descriptors kept back for what must not fail: a process that has none left cannot even find its children."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# To end a server and remove its folder takes five at once; the others are for a connection that is accepted meanwhile.
COUNT = 16


class Spare:
    """Spare file descriptors, opened while the process has some left."""

    def __init__(self, count: int = COUNT) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._kept: list[int] = []
        self._take()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """A block for which they are free; one thread at a time."""
        with self._lock:
            self.close()
            try:
                yield
            finally:
                self._take()

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop())

    def _take(self) -> None:
        with suppress(OSError):  # as many descriptors as can be had
            while len(self._kept) < self._count:
                self._kept.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
