"""Copies a source to a file or block device: several threads in C, the GIL released, resumable, cancellable."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc._native import ffi, lib
from nbdsvc.datapath import native
from nbdsvc.datapath.source import Source

# More threads than two cores, because half of them wait for the disk; more than cores on large hosts win nothing.
THREADS = max(4, os.cpu_count() or 1)
# How often progress is reported and a wish to stop is seen: a cancel takes effect within 100 ms.
TICK_SECONDS = 0.05
DESTINATION_IS_ZERO = 1

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CopyResult:
    """Bytes dealt with in all, written as data, and found there already by a resumed copy; and how long it took."""

    size: int
    data: int
    skipped: int
    seconds: float


class Stopped(Exception):
    """The copy ended because `should_stop` said so. The caller knows why."""


def copy(
    source: Source,
    destination: Path,
    *,
    size: int | None = None,
    journal: Path | None = None,
    fingerprint: bytes = b"",
    destination_is_zero: bool = False,
    threads: int = THREADS,
    on_progress: OnProgress = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> CopyResult:
    """Make the first `size` bytes of `destination` read like the source, then zeros; return when they are on disk.

    `journal`: a file that lets a later call with the same `fingerprint` (at most 32 bytes, naming the source's content)
    go on where this one was killed; removed by the caller when it is not needed any more. Raises Stopped, ReadFailed,
    WriteFailed, OutOfSpace or BadImage; the destination then holds a part.
    """
    with ExitStack() as stack:
        job = ffi.new("struct nbdsvc_copy *")
        job.source = source.pointer
        job.size = size or source.size
        job.threads = 1 if source.sequential else threads
        job.flags = DESTINATION_IS_ZERO if destination_is_zero else 0
        job.fd = _open(stack, destination, os.O_RDWR)
        job.direct_fd = _open_direct(stack, destination)
        job.journal_fd = -1
        if journal is not None and not source.sequential:
            job.journal_fd = _open(stack, journal, os.O_RDWR | os.O_CREAT)
        ffi.memmove(job.fingerprint, fingerprint[:32].ljust(32, b"\0"), 32)
        started = time.monotonic()
        result = _run(job, on_progress, should_stop)
        if result < 0:
            raise _failure(job, result, source, destination)
        return CopyResult(int(job.size), int(job.data), int(job.skipped), time.monotonic() - started)


def _run(job: Any, on_progress: OnProgress, should_stop: Callable[[], bool]) -> int:
    """The C call on a thread of its own, while this one reports progress and watches for a wish to stop."""
    results: list[int] = []
    worker = threading.Thread(target=lambda: results.append(lib.nbdsvc_copy_run(job)), name="copy")
    worker.start()
    try:
        while worker.is_alive():
            worker.join(TICK_SECONDS)
            on_progress(int(job.done), int(job.size))
            if should_stop():
                job.cancel = 1
    finally:
        if worker.is_alive():  # on_progress raised: nothing may write once this frame is gone
            job.cancel = 1
            worker.join()
    return results[0]


def _failure(job: Any, result: int, source: Source, destination: Path) -> Exception:
    if job.cancel and job.side == 0:
        return Stopped()
    reason = ffi.string(job.reason).decode(errors="replace")
    cause = source.callback.error if source.callback else None
    if job.side == native.READ and isinstance(cause, errors.Error):
        return cause
    if job.side == native.READ and cause is not None:
        reason = str(cause)
    return native.error_of(result, job.side, int(job.offset), reason, source.name, destination.name)


def _open(stack: ExitStack, path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.WriteFailed(destination=path.name, offset=0, reason=error.strerror or str(error)) from error
    stack.callback(os.close, fd)
    return fd


def _open_direct(stack: ExitStack, path: Path) -> int:
    """The same with O_DIRECT, or -1: a volume's bytes need not push other things out of the page cache."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return -1
    stack.callback(os.close, fd)
    return fd
