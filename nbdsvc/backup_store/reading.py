"""Read a backup: as a source of the data path, with every chunk verified, and as a whole."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from nbdsvc import errors
from nbdsvc.backup_store.contract import Missing
from nbdsvc.backup_store.manifest import CHUNK, Manifest
from nbdsvc.backup_store.space import Space
from nbdsvc.backup_store.writing import THREADS
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import CALLBACK_THREADS, Source

# Chunks that are kept unpacked: one for each thread that reads a chunk piece by piece, and as many that it reads next.
_KEPT = 2 * CALLBACK_THREADS


class Reader:
    """The chunks of one backup, verified."""

    def __init__(self, space: Space, manifest: Manifest) -> None:
        self._space = space
        self._manifest = manifest
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes | bytearray] = OrderedDict()

    def open(self) -> Source:
        """A source of the volume's bytes, of which zeros are known. It raises BackupDamaged, BackendUnavailable."""
        name = f"backup {self._manifest.backup_id}"
        return sources.open_parts(self._pread, self._manifest.size, self._manifest.stored(), name)

    def chunk(self, index: int) -> bytes | bytearray:
        """The content of a chunk that is not zeros. BackupDamaged where it is not what was written."""
        id = self._manifest.chunks[index]
        assert id is not None
        try:
            content = self._space.get_chunk(id)
            if len(content) != self._manifest.length_of(index):
                raise ValueError(f"it has {len(content)} bytes")
        except Missing:
            reason = f"the store has no chunk {id.hex()} (at byte {index * CHUNK})"
            raise errors.BackupDamaged(backup=self._manifest.backup_id, reason=reason) from None
        except ValueError as error:
            with contextlib.suppress(
                errors.BackendError
            ):  # a store that takes no change says all the same what is damaged
                self._space.set_aside(id)
            reason = f"chunk {id.hex()} (at byte {index * CHUNK}): {error}"
            raise errors.BackupDamaged(backup=self._manifest.backup_id, reason=reason) from None
        return content

    def check_present(self) -> None:
        """BackupDamaged where a chunk is not there, before anything is written; their content is not looked at."""
        gone = self._space.missing(self._manifest.ids())
        for id in gone:
            try:
                self._space.get_chunk(id)  # in the trash, or moved out of it meanwhile
            except (Missing, ValueError) as error:
                reason = f"the store lacks {len(gone)} of its chunks, among them {id.hex()}"
                raise errors.BackupDamaged(backup=self._manifest.backup_id, reason=reason) from error

    def verify(self, on_progress: Callable[[int, int], None], raise_if_stopped: Callable[[], None]) -> int:
        """Read every chunk once; returns their number. on_progress: bytes, done and in all. Raises BackupDamaged."""
        first = {id: index for index, id in reversed(list(enumerate(self._manifest.chunks))) if id is not None}
        indexes = sorted(first.values())
        total, done = sum(self._manifest.length_of(index) for index in indexes), 0
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="verify")
        try:
            # In parts, so that what was read is not kept, and a cancel is not waited for long.
            for at in range(0, len(indexes), 4 * THREADS):
                raise_if_stopped()
                part = indexes[at : at + 4 * THREADS]
                for _ in pool.map(self._look, part):
                    pass
                done += sum(self._manifest.length_of(index) for index in part)
                on_progress(done, total)
        finally:
            pool.shutdown(cancel_futures=True)
        return len(indexes)

    def _look(self, index: int) -> None:
        self.chunk(index)

    def _pread(self, offset: int, length: int) -> bytes:
        """Called by several threads, each of which reads one chunk in ascending order."""
        found = bytearray()
        while len(found) < length:
            index, within = divmod(offset + len(found), CHUNK)
            content = self._unpacked(index)
            found += memoryview(content)[within : within + length - len(found)]
        return bytes(found)

    def _unpacked(self, index: int) -> bytes | bytearray:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        content = self.chunk(index)
        with self._lock:
            self._kept[index] = content
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return content
