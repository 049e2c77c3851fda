"""Writes to several volumes in an order, past any transport, and the question whether snapshots of them are of one moment.

A write goes to the next of the volumes only when the one before is done. So of snapshots of one moment the newest write of all,
n, is in one, n-1 in the next and so on: anything else is of several moments.
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until

BLOCK = 4096


def of_one_moment(numbers: Sequence[int]) -> bool:
    return sorted(numbers) == list(range(max(numbers) - len(numbers) + 1, max(numbers) + 1))


def number_in(path: Path) -> int:
    """The newest write in this volume or snapshot."""
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if path.is_block_device() else 0))
    try:
        with mmap.mmap(-1, BLOCK) as block:
            os.preadv(fd, [block], 0)
            return int.from_bytes(block[:8], "big")
    finally:
        os.close(fd)


class OrderedThread(threading.Thread):
    """A writer of 1, 2, 3 ... each to the next volume when the one before is done. written: the newest; error: why it ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.written, self.error = 0, ""
        self._stopping = threading.Event()

    def go_on(self, more: int = 50, seconds: float = 30) -> None:
        """Wait for so many more writes."""
        before = self.written
        wait_until(lambda: self.written > before + more or self.error, seconds, lambda: (before, self.written))
        assert not self.error, self.error

    def stop(self) -> None:
        self._stopping.set()
        self.join(30)
        assert not self.is_alive()
        assert not self.error, self.error


class LocalWriter(OrderedThread):
    """Writes as an initiator's target does: to the device itself. `held`: the files by which the simulator holds its writers
    (drivers/memory_consistent.py).
    """

    def __init__(self, volumes: Sequence[Path], held: Sequence[Path] = ()) -> None:
        super().__init__()
        self._volumes, self._held = volumes, held

    def run(self) -> None:
        fds = [os.open(path, os.O_RDWR | (os.O_DIRECT if path.is_block_device() else 0)) for path in self._volumes]
        try:
            with mmap.mmap(-1, BLOCK) as block:
                while not self._stopping.is_set():
                    number = self.written + 1
                    block[:8] = number.to_bytes(8, "big")
                    with self._allowed(number % len(fds)):
                        os.pwritev(fds[number % len(fds)], [block], 0)
                    self.written = number
        except OSError as error:
            self.error = str(error)
        finally:
            for fd in fds:
                os.close(fd)

    @contextmanager
    def _allowed(self, index: int) -> Iterator[None]:
        if not self._held:
            yield
            return
        self._held[index].parent.mkdir(exist_ok=True)
        fd = os.open(self._held[index], os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)
