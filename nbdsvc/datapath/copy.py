"""Copies a source to a sink: several threads in C, the GIL released, resumable, cancellable, limited, verifiable."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from nbdsvc import errors
from nbdsvc._native import ffi, lib
from nbdsvc.datapath import native
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.rate_limit import Limit
from nbdsvc.datapath.sink import Sink
from nbdsvc.datapath.source import Source
from nbdsvc.location import Location

# More threads than two cores, because half of them wait for the disk; more than cores on large hosts win nothing.
THREADS = max(4, os.cpu_count() or 1)
# A sink that packs makes its threads wait for their turn; with twice as many there is always one that need not wait.
PACKING_THREADS = 2 * THREADS
# A thread that takes digests is not writing meanwhile, and a disk wants several writes at once: 2 GiB to a file took 0.93 s
# without digests, with them 20 % more by four threads, 6 % by eight, 3 % by twelve and 1 % by sixteen.
DIGEST_THREADS = max(16, 2 * THREADS)
# How often progress is reported and a request to stop is seen: a cancel takes effect within 100 ms.
TICK_SECONDS = 0.05

OnProgress = Callable[[int, int, int], None]
"""Bytes dealt with, bytes in all, bytes written as data."""


class CopyResult(NamedTuple):
    """Bytes dealt with in all, written as data, found there already by a resumed copy, shared; and how long it took."""

    size: int
    data: int
    skipped: int
    seconds: float
    cloned: int = 0


class Stopped(Exception):
    """The copy ended because `should_stop` said so. The caller knows why."""


def copy(
    source: Source,
    destination: Location | Sink,
    *,
    size: int | None = None,
    journal: Path | int | None = None,
    fingerprint: bytes = b"",
    destination_is_zero: bool = False,
    may_clone: bool = False,
    digests: Digests | None = None,
    limits: Sequence[Limit] = (),
    cpu: Limit | None = None,
    threads: int | None = None,
    on_progress: OnProgress = lambda _done, _total, _data: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> CopyResult:
    """Make the first `size` bytes of `destination` read like the source, then zeros; return when they are on disk.

    `destination`: a sink, or a location whose bytes are written as they are. `journal`: a file of ours, or its
    descriptor, that lets a later call with the same `fingerprint` (at most 32 bytes, naming the source's content) go on
    where this one was killed; anything else in it is overwritten. The caller removes it when it is not needed any more.
    `may_clone`: share the bytes where the file system can. `digests` are filled in. `limits`: of bytes, at most three;
    `cpu`: of processor time (`limit.cores`). Raises Unsupported for a location that the data path does not open; Stopped,
    ReadFailed, WriteFailed, OutOfSpace or BadImage, and the destination then holds a part.
    """
    with ExitStack() as stack:
        sink = destination
        if isinstance(sink, Location):
            sink = stack.enter_context(sinks.open(sink, is_zero=destination_is_zero))
        job = ffi.new("struct nbdsvc_copy *")
        job.source, job.sink = source.pointer, sink.pointer
        job.size = next(known for known in (size, sink.size, source.size) if known is not None)
        idle = DIGEST_THREADS if digests is not None else THREADS
        wanted = threads or (idle if sink.resumable else PACKING_THREADS)
        job.threads = min(wanted, source.most_threads or wanted)
        job.may_clone = may_clone
        job.journal_fd = -1
        if journal is not None and sink.resumable and not source.sequential:
            job.journal_fd = _open_journal(stack, journal) if isinstance(journal, Path) else journal
        if digests is not None:
            room = ffi.from_buffer(digests.content)
            job.digests = ffi.cast("unsigned char *", room)
        for index, limit in enumerate(limits):
            job.buckets[index] = limit.pointer
        if cpu is not None:
            job.cpu = cpu.pointer
        ffi.memmove(job.fingerprint, fingerprint[:32].ljust(32, b"\0"), 32)
        started = time.monotonic()
        result = _run(job, source, on_progress, should_stop)
        if result < 0:
            raise _failure(job, result, source, sink.name)
        seconds = time.monotonic() - started
        return CopyResult(int(job.size), int(job.data), int(job.skipped), seconds, int(job.cloned))


def digest(source: Source, size: int, **options: Any) -> Digests:
    """Read the first `size` bytes of the source (zeros behind its end) for their digests. Options: as for `copy`."""
    found = Digests(size)
    with sinks.nowhere() as nowhere:
        copy(source, nowhere, size=size, digests=found, **options)
    return found


def _run(job: Any, source: Source, on_progress: OnProgress, should_stop: Callable[[], bool]) -> int:
    """The C call on a thread of its own, while this one reports progress and watches for a request to stop."""
    results: list[int] = []
    worker = threading.Thread(target=lambda: results.append(lib.nbdsvc_copy_run(job)), name="copy")
    worker.start()
    try:
        while True:
            worker.join(TICK_SECONDS)
            ended = not worker.is_alive()  # read before the report, so that the last report is complete
            on_progress(int(job.done), int(job.size), int(job.data))
            if ended:
                break
            if should_stop():
                _end(job, source)
    finally:
        if worker.is_alive():  # on_progress raised an error: the worker must not outlive this frame's buffers
            _end(job, source)
            worker.join()
    return results[0]


def _end(job: Any, source: Source) -> None:
    """No thread of the copy waits for its source any more."""
    job.cancel = 1
    source.abort()


def _failure(job: Any, result: int, source: Source, destination: str) -> Exception:
    if job.cancel and job.side == 0:
        return Stopped()
    reason = ffi.string(job.reason).decode(errors="replace")
    cause = source.callback.error if source.callback else None
    if job.side == native.READ and isinstance(cause, errors.Error):
        return cause
    if job.side == native.READ and cause is not None:
        reason = str(cause)
    error = native.error_of(result, job.side, int(job.offset), reason, source.name, destination)
    return source.cause(error) if job.side == native.READ else error


def _open_journal(stack: ExitStack, path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.WriteFailed(destination=path.name, offset=0, reason=error.strerror or str(error)) from error
    stack.callback(os.close, fd)
    return fd
