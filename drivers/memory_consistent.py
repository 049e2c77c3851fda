"""The simulator with snapshots of several volumes at one moment, whatever the transport; otherwise as memory.py."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from drivers.faults import faulty
from drivers.memory import MemoryDriver
from nbdsvc import errors
from nbdsvc.driver import ProviderState, SnapshotRef
from nbdsvc.polling import wait_until

# Seconds until the writes of an initiator that is simulated have to end.
_HOLD_SECONDS = 10.0
_POLL_SECONDS = 0.001


class ConsistentMemoryDriver(MemoryDriver):
    """The options of MemoryDriver. Whoever simulates an initiator takes a shared flock(2) of `held/VOLUME`, in the pool's
    folder, for each write.
    """

    @faulty
    def prepare_snapshots(self, snapshots: Sequence[SnapshotRef], owner: str) -> list[ProviderState | None]:
        """See ConsistentSnapshotDriver; the planned faults come first and last. The bytes are of now."""
        return [self.create_snapshot(each, owner) for each in snapshots]

    @faulty
    def take_snapshots(self, snapshots: Sequence[SnapshotRef]) -> float:
        """See ConsistentSnapshotDriver; the planned faults come first and last."""
        began = time.monotonic()
        with ExitStack() as stack:
            for each in snapshots:
                stack.enter_context(self._held(self._at(each.pool).folder / "held" / each.volume_id))
            for each in snapshots:
                self._take_anew(each)
        return time.monotonic() - began

    @faulty
    def finish_snapshots(self, snapshots: Sequence[SnapshotRef]) -> None:
        """Nothing is left to do; the planned faults come first and last."""

    def _take_anew(self, snapshot: SnapshotRef) -> None:
        volume = self._file_of(snapshot.pool, self._ids.of_volume(snapshot).volume_id)
        with volume.open("rb") as source, Path(self.snapshot_location(snapshot).path).open("r+b") as file:
            file.truncate(0)
            self._at(snapshot.pool).copy(source.fileno(), file.fileno())

    @contextmanager
    def _held(self, path: Path) -> Iterator[None]:
        """No write is under way in the block. BackendUnavailable where one does not end in time."""
        path.parent.mkdir(exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            if not wait_until(partial(_locks, fd), _HOLD_SECONDS, _POLL_SECONDS):
                reason = f"writes to {path.name} do not end within {_HOLD_SECONDS} s"
                raise errors.BackendUnavailable(backend=self.name, reason=reason)
            yield
        finally:
            os.close(fd)


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
