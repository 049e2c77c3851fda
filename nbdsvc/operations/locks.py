"""Named locks (rows S050-S053).

Two layers, because they answer two questions. Rows (store/operation_locks.py): may this operation begin, without ever
waiting for another while holding something? They hold over processes and hosts, until the operation ends. `FileLocks`, flock
on files of one host: is a child of an earlier, killed service process still at work? Children inherit the descriptor, so the
lock lives as long as the last of them.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nbdsvc.model.operation import Lock
from nbdsvc.store.operation_locks import Claimed

# How often a lock that an orphan holds is tried again: short against a copy, long against the cost of a try.
RETRY_SECONDS = 0.02


def excluded(claimed: Iterable[Claimed]) -> set[str]:
    """The ids of those that have to wait: for one at work, or for one that was submitted earlier and waits itself.

    claimed: every unfinished operation with its locks, in the order of submission. All locks are granted at once or none, so
    that nothing holds a lock while it waits for another.
    """
    found = list(claimed)
    taken = _Taken()
    for each in found:
        if each.working:
            taken.add(each.locks)
    waiting = set()
    for each in found:
        if not each.working:
            if taken.conflict(each.locks):
                waiting.add(each.id)
            taken.add(each.locks)
    return waiting


class _Taken:
    """The names that are taken, and which of them exclusively."""

    def __init__(self) -> None:
        self._exclusive: dict[str, bool] = {}

    def add(self, locks: Iterable[Lock]) -> None:
        for lock in locks:
            self._exclusive[lock.name] = self._exclusive.get(lock.name, False) or not lock.shared

    def conflict(self, locks: Iterable[Lock]) -> bool:
        return any(
            lock.name in self._exclusive and not (lock.shared and not self._exclusive[lock.name]) for lock in locks
        )


class FileLocks:
    """flock files in one folder, removed by their last holder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in folder.iterdir():  # of a process that was killed; what an orphan still holds stays
            remove_unheld(folder, Lock(path.name))

    @contextmanager
    def hold(self, locks: Iterable[Lock], check: Callable[[], None]) -> Iterator[tuple[int, ...]]:
        """Hold all locks, in sorted order; `check` is called while waiting and may raise. Yields their descriptors."""
        with ExitStack() as stack:
            fds = []
            for lock in sorted(locks):
                fd = self._acquire(lock, check)
                stack.callback(self._release, lock, fd)
                fds.append(fd)
            yield tuple(fds)

    def _acquire(self, lock: Lock, check: Callable[[], None]) -> int:
        mode = (fcntl.LOCK_SH if lock.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        while True:
            fd = os.open(self._folder / lock.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, mode)
                if _is_current(fd, self._folder / lock.name):
                    return fd
            except BlockingIOError:
                check()
                time.sleep(RETRY_SECONDS)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _release(self, lock: Lock, fd: int) -> None:
        """Unlock, and remove the file unless another process holds the lock: a reader, or a child that lives on.

        The lock is tried through a new descriptor: a child shares the one that was held, and with it the lock, so that
        flock on that one would always succeed.
        """
        os.close(fd)
        remove_unheld(self._folder, lock)


def remove_unheld(folder: Path, lock: Lock) -> None:
    """Remove the file of a lock unless it is held."""
    path = folder / lock.name
    try:
        probe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_current(probe, path):
            path.unlink()
    except BlockingIOError:
        pass
    finally:
        os.close(probe)


def _is_current(fd: int, path: Path) -> bool:
    """False when the last holder removed the file between our open and our flock."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
