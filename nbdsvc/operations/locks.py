"""Named locks of one host.

Two layers, because they answer two questions. `LockTable`, in memory: may this operation begin, without ever waiting
for another while holding something? It grants all names at once or none, in order of submission. `FileLocks`, flock on
files: is a child of an earlier, killed service process still at it? Children inherit the descriptor, so the lock lives
as long as the last of them.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nbdsvc.model.operation import Lock

# How often a lock that an orphan holds is tried again: short against a copy, long against the cost of a try.
RETRY_SECONDS = 0.02


class LockTable:
    """The holders of names. Not thread-safe: the dispatcher calls it under its own mutex."""

    def __init__(self) -> None:
        self._holders: dict[str, tuple[bool, set[str]]] = {}

    def try_acquire(self, owner: str, locks: Iterable[Lock], reserved: set[str]) -> bool:
        """Acquire all of `locks` or none. An earlier operation waits for the names in `reserved`, which are not granted."""
        wanted = list(locks)
        if any(lock.name in reserved or not self._free(lock) for lock in wanted):
            return False
        for lock in wanted:
            _, owners = self._holders.get(lock.name, (lock.shared, set()))
            self._holders[lock.name] = (lock.shared, owners | {owner})
        return True

    def release(self, owner: str) -> None:
        for name, (shared, owners) in list(self._holders.items()):
            owners.discard(owner)
            if owners:
                self._holders[name] = (shared, owners)
            else:
                del self._holders[name]

    def _free(self, lock: Lock) -> bool:
        held = self._holders.get(lock.name)
        return held is None or (held[0] and lock.shared)


class FileLocks:
    """flock files in one folder, removed by their last holder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in folder.iterdir():  # of a process that was killed; what an orphan still holds stays
            self._remove_unheld(Lock(path.name))

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
                if self._is_current(fd, lock):
                    return fd
            except BlockingIOError:
                check()
                time.sleep(RETRY_SECONDS)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _is_current(self, fd: int, lock: Lock) -> bool:
        """False when the last holder removed the file between our open and our flock."""
        try:
            return os.path.samestat(os.fstat(fd), (self._folder / lock.name).stat())
        except FileNotFoundError:
            return False

    def _release(self, lock: Lock, fd: int) -> None:
        """Unlock, and remove the file unless another process holds the lock: a reader, or a child that lives on.

        The lock is tried through a new descriptor: a child shares the one that was held, and with it the lock, so that
        flock on that one would always succeed.
        """
        os.close(fd)
        self._remove_unheld(lock)

    def _remove_unheld(self, lock: Lock) -> None:
        path = self._folder / lock.name
        try:
            probe = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current(probe, lock):
                path.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(probe)
