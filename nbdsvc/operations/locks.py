"""Named locks (rows S050-S053).

There are two layers. Rows (store/operation_locks.py) decide whether an operation may begin; they hold across processes
and hosts until the operation ends, and no operation waits for a lock while it holds another. `FileLocks` (flock on
files of one host) wait for child processes of an earlier service process that was killed: children inherit the
descriptor, so that the lock is held until the last of them ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nbdsvc.model.operation import Lock
from nbdsvc.store.operation_locks import Claimed

# Seconds between two tries of a lock that an orphan holds: much shorter than a copy, much longer than a try takes.
RETRY_SECONDS = 0.02


def excluded(claimed: Iterable[Claimed]) -> set[str]:
    """The ids of operations that have to wait for a running one, or for one that was submitted earlier and waits.

    claimed: every unfinished operation with its locks, in the order of submission. An operation gets all its locks at
    once or none, so that none holds a lock while it waits for another.
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
    """The names of the locks that are held, and which of them exclusively."""

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
        for path in folder.iterdir():  # left by a process that was killed; a file that an orphan still holds stays
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
        """Unlock, and remove the file unless another process holds the lock: a reader, or a child that still runs.

        Whether the lock is held is tried through a new descriptor, because a child shares the old one and its lock, so
        that flock on the old one would always succeed.
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
    """Whether the file still has the path: the last holder may remove it between our open and our flock."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
