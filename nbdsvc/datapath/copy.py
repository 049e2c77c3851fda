"""Copies a source to a sink by threads of the C core without the GIL: resumable, cancellable, limited, verifiable."""

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

# At least four threads, because half of them wait for the disk; on large hosts, more threads than cores gain nothing.
THREADS = max(4, os.cpu_count() or 1)
# The threads of a compressing sink wait for their turn to write; with twice as many, one always has work to do.
PACKING_THREADS = 2 * THREADS
# A thread that computes a digest does not write meanwhile, and a disk is fast only with several writes at once: a copy
# of 2 GiB to a file took 0.93 s without digests, and with them 20 % longer on four threads, 6 % on eight, 3 % on twelve
# and 1 % on sixteen.
DIGEST_THREADS = max(16, 2 * THREADS)
# Seconds between two progress reports and two calls of `should_stop`: a cancel takes effect within 100 ms.
TICK_SECONDS = 0.05

OnProgress = Callable[[int, int, int], None]
"""Bytes dealt with, bytes in all, bytes written as data."""


class CopyResult(NamedTuple):
    """Bytes in all (`size`), written (`data`), copied before a resume (`skipped`), shared (`cloned`); and seconds."""

    size: int
    data: int
    skipped: int
    seconds: float
    cloned: int = 0


class Stopped(Exception):
    """The copy ended because `should_stop` was true. The caller knows the reason."""


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
    """Write the source and then zeros to the first `size` bytes of `destination`; return when they are on disk.

    `destination`: a sink, or a location whose raw bytes are written. `journal`: a path or descriptor of a private file,
    by which a later call with the same `fingerprint` (at most 32 bytes that identify the source's content) resumes when
    this call was killed; a file with other content is overwritten, and the caller removes the file in the end.
    `may_clone`: share blocks where the file system can. `digests`: receives the digests. `limits`: at most three limits
    of bytes a second; `cpu`: a limit of processor time (rate_limit.cores). Raises Unsupported for a location that the
    data path does not open; Stopped, ReadFailed, WriteFailed, OutOfSpace or BadImage, and the copy is then incomplete.
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
    """The digests of the first `size` bytes of the source (zeros behind its end). Options and errors: as for `copy`."""
    found = Digests(size)
    with sinks.nowhere() as nowhere:
        copy(source, nowhere, size=size, digests=found, **options)
    return found


def _run(job: Any, source: Source, on_progress: OnProgress, should_stop: Callable[[], bool]) -> int:
    """Run the C call on another thread, while this thread reports progress and calls `should_stop`."""
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
    """Cancel the copy, and end every read in which its threads wait for the source."""
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
