"""Write a backup: read the volume, name each chunk by its content, store those that are not there.

Threads take one chunk after the other: reading, digests, compression, sealing and writing let other threads run, so that
they keep all cores and the disk busy. A backup that was killed is begun anew, and finds its chunks in the store.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from nbdsvc import errors
from nbdsvc.backup_store.manifest import CHUNK, MOST_BYTES, Manifest, most_bytes
from nbdsvc.backup_store.space import Space
from nbdsvc.datapath.copy import OnProgress, Stopped
from nbdsvc.datapath.rate_limit import LimitShare
from nbdsvc.datapath.source import Source

# Half of them wait for a disk while the others compute; each needs about three chunks of memory.
THREADS = min(16, max(4, 2 * (os.cpu_count() or 1)))
# Seconds between two progress reports and two calls of `should_stop`, as in datapath/copy.py.
_TICK_SECONDS = 0.05
# How often chunks may vanish while a manifest is about to be written, before this is the store's fault: each time is a
# sweep that took them for unneeded.
_STORE_TRIES = 5
_ZEROS = bytes(CHUNK)


@dataclass
class Written:
    """What a backup took: chunks that are not zeros, those that were new in the store, their bytes there, and bytes of
    data read."""

    chunks: int = 0
    new: int = 0
    stored: int = 0
    data: int = 0


class Writer:
    """Writes one backup of `source` to a space, in which its session has begun. parent: a backup of the same space whose
    chunks are known to be there.
    """

    def __init__(
        self,
        space: Space,
        source: Source,
        *,
        parent: Manifest | None = None,
        compress: bool = True,
        threads: int = THREADS,
        share: LimitShare | None = None,
    ) -> None:
        self._space = space
        self._source = source
        self._known = set(parent.ids()) if parent else set()
        self._compress = compress
        self._share = share
        self._threads = min(threads, source.most_threads or threads)
        self._chunks: list[bytes | None] = [None] * -(-source.size // CHUNK)
        self._written = Written()
        self._done = 0
        self._lock = threading.Lock()
        self._stopping = False
        self._error: Exception | None = None

    def write(
        self,
        backup_id: str,
        description: dict[str, Any],
        on_progress: OnProgress = lambda _done, _total, _data: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Written:
        """Store the chunks, make sure that they are there, and then the manifest: from then on the backup is whole.

        Raises Stopped, ReadFailed, BackendUnavailable, OutOfSpace; BackupDamaged where the store does not keep what it is
        given; Unsupported for a volume whose manifest no one would read. Chunks that were stored stay for the next try, or
        for a sweep.
        """
        if most_bytes(self._source.size) > MOST_BYTES:
            raise errors.Unsupported(reason=f"a volume of {self._source.size} bytes is too large for one backup")
        wanted = self._indexes()
        self._done = self._source.size - sum(self._length(index) for index in wanted)
        for _try in range(_STORE_TRIES):
            self._run(wanted, on_progress, should_stop)
            ids = {id for id in self._chunks if id is not None}
            self._space.sync_chunks(ids)
            missing = self._space.missing(ids)
            if not missing:
                break
            self._known -= missing
            wanted = [index for index, id in enumerate(self._chunks) if id in missing]
            self._done -= sum(self._length(index) for index in wanted)  # which are done once more
        else:
            raise errors.BackupDamaged(backup=backup_id, reason="the store does not keep the chunks that it is given")
        self._written.chunks = sum(id is not None for id in self._chunks)
        made = Manifest(backup_id, self._source.size, tuple(self._chunks), description)
        self._written.stored += self._space.put_manifest(made)
        if self._space.get_manifest(backup_id) != made:
            raise errors.BackupDamaged(backup=backup_id, reason="the store changed its manifest")
        return self._written

    def _indexes(self) -> list[int]:
        """The chunks that may have data in them."""
        found: list[int] = []
        for offset, length, zero in self._source.extents():
            if not zero:
                first = max(offset // CHUNK, found[-1] + 1 if found else 0)
                found += range(first, (offset + length - 1) // CHUNK + 1)
        return found

    def _length(self, index: int) -> int:
        return min(CHUNK, self._source.size - index * CHUNK)

    def _run(self, indexes: list[int], on_progress: OnProgress, should_stop: Callable[[], bool]) -> None:
        waiting = iter(indexes)
        count = min(self._threads, len(indexes))
        workers = [
            threading.Thread(target=self._work, args=(waiting,), name=f"backup-{each}", daemon=True)
            for each in range(count)
        ]
        with self._share.joined() if self._share else nullcontext():
            try:
                for each in workers:
                    each.start()
                self._watch(workers, on_progress, should_stop)
            finally:
                self._stopping = self._stopping or any(each.is_alive() for each in workers)
                for each in workers:
                    if each.ident is not None:
                        each.join()
        if self._error:
            raise self._error
        if self._stopping:
            raise Stopped

    def _watch(self, workers: list[threading.Thread], on_progress: OnProgress, should_stop: Callable[[], bool]) -> None:
        for each in workers:
            while each.is_alive():
                each.join(_TICK_SECONDS)
                on_progress(self._done, self._source.size, self._written.data)
                if not self._stopping and should_stop():
                    self._stopping = True
                    self._source.abort()
        on_progress(self._done, self._source.size, self._written.data)

    def _work(self, waiting: Iterator[int]) -> None:
        try:
            buffer = bytearray(CHUNK)
            while (index := self._next(waiting)) is not None:
                length = self._length(index)
                self._chunk(index, buffer if length == CHUNK else bytearray(length))
        except Exception as error:  # raised again by the thread that waits for this one
            with self._lock:
                self._error = self._error or (None if self._stopping else error)
                self._stopping = True

    def _claim(self, id: bytes) -> bool:
        """Whether this thread is the one that looks for the chunk: of equal ones only one is stored."""
        with self._lock:
            first = id not in self._known
            self._known.add(id)
            return first

    def _next(self, waiting: Iterator[int]) -> int | None:
        with self._lock:
            return None if self._stopping else next(waiting, None)

    def _chunk(self, index: int, content: bytearray) -> None:
        if self._share:
            self._share.take(len(content))
        self._source.read_into(content, index * CHUNK)
        stored, new = 0, False
        id = None
        if content != (_ZEROS if len(content) == CHUNK else bytes(len(content))):  # compared as memory
            id = self._space.keys.id_of(content)
            new = self._claim(id) and not self._space.has_chunk(id)
            if new:
                stored = self._space.put_chunk(id, content, compress=self._compress)
        with self._lock:
            self._chunks[index] = id
            self._done += len(content)
            self._written.data += len(content)
            self._written.new += new
            self._written.stored += stored
