"""A copy as part of an operation: journalled so that it resumes, with progress, cancel and limits of its speed.

How many copy at once, the engine decides: see Step.copies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from nbdsvc import errors
from nbdsvc.datapath import abandoning
from nbdsvc.datapath import copy as engine
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.limit import Limit
from nbdsvc.datapath.reconcile import reconcile
from nbdsvc.datapath.sink import Sink
from nbdsvc.datapath.source import Source
from nbdsvc.manager.app import Host, host_of
from nbdsvc.operations.step import Run
from nbdsvc.store import operations as journal

T = TypeVar("T")
log = structlog.get_logger(__name__)

_SUFFIX = ".copy"


def fill(
    run: Run,
    source: Source,
    destination: Path,
    size: int,
    fingerprint: bytes,
    *,
    empty: bool,
    digests: Digests | None = None,
) -> dict[str, int]:
    """Copy `source` to `destination`, whose `size` bytes are zeros if `empty` and it is not a resumed copy."""
    path = _journal(run)
    how = {"journal": path, "fingerprint": fingerprint, "digests": digests}
    return _copy(run, source, destination, size=size, destination_is_zero=empty and not path.exists(), **how)


def pack(run: Run, source: Source, sink: Sink) -> dict[str, int]:
    """Copy `source` to a sink that cannot resume: what an earlier try wrote is worth nothing."""
    return _copy(run, source, sink)


def digest(run: Run, source: Source) -> Digests:
    """The digests of all bytes of `source`."""
    found = Digests(source.size)
    with sinks.nowhere() as nowhere:
        _copy(run, source, nowhere, size=source.size, digests=found)
    return found


def restore(run: Run, source: Path, destination: Path, size: int) -> dict[str, int]:
    """Make `destination` read like `source`, writing only what differs."""
    written = reconcile(
        source,
        destination,
        size,
        lambda done, total, data: run.progress(done, total, "comparing", data),
        run.should_stop,
    )
    if written is None:
        run.check()
        raise errors.Interrupted(operation=run.id)
    return {"size": size, "data": written, "skipped": size - written}


def check_room(run: Run, source: Source) -> None:
    """OutOfSpace before the first byte where the pool has no room for what the source has."""
    driver = host_of(run).driver
    if driver.capabilities.thin and not source.sequential:
        driver.check_room(sum(length for _, length, zero in source.extents() if not zero))


def _copy(run: Run, source: Source, destination: Path | Sink, **how: Any) -> dict[str, int]:
    own, host = Limit(run.rate), host_of(run)

    def report(done: int, total: int, data: int) -> None:
        run.progress(done, total, "copying", data)
        if run.rate != own.rate:
            own.rate = run.rate

    with stoppable(run):
        result = engine.copy(
            source,
            destination,
            limits=[own, host.rate],
            cpu=host.cpu,
            on_progress=report,
            should_stop=run.should_stop,
            **how,
        )
    return {"size": result.size, "data": result.data, "skipped": result.skipped}


@contextmanager
def stoppable(run: Run) -> Iterator[None]:
    """What was stopped because the run said so ends as the run wants it to end."""
    try:
        yield
    except engine.Stopped:
        run.check()
        raise errors.Interrupted(operation=run.id) from None


@contextmanager
def watched(run: Run, source: Source) -> Iterator[None]:
    """While the block runs, the end of the operation ends every read of the source, also outside a copy."""
    over = threading.Event()
    watcher = threading.Thread(target=_abort_in_time, args=(run, source, over), name="watcher")
    watcher.start()
    try:
        yield
    except errors.Error:
        run.check()  # of a read that was ended, this is the reason
        raise
    finally:
        over.set()
        watcher.join()


def _abort_in_time(run: Run, source: Source, over: threading.Event) -> None:
    while not over.wait(abandoning.TICK_SECONDS):
        if run.should_stop():
            source.abort()
            return


@contextmanager
def opened(run: Run, function: Callable[[], T], late: Callable[[T], None]) -> Iterator[T]:
    """A block with what `function` opens, which may wait for a server; not longer than the operation goes on."""
    try:
        with abandoning.opened(function, run.should_stop, late) as found:
            yield found
    except (abandoning.Abandoned, engine.Stopped):
        run.check()
        raise errors.Interrupted(operation=run.id) from None


def forget(run: Run) -> None:
    """The copy is recorded as done, or undone: its journal is not needed any more."""
    _journal(run).unlink(missing_ok=True)


def sweep(host: Host) -> None:
    """Remove the journals of operations that have ended: one whose undo failed, say, leaves its own behind."""
    for path in host.journals.glob(f"*{_SUFFIX}"):
        with host.database.read() as conn:
            found = journal.rows.find(conn, path.stem)
        if found is None or found.finished:
            log.warning("removing a copy's journal that nobody needs", operation=path.stem)
            path.unlink(missing_ok=True)


def _journal(run: Run) -> Path:
    folder = host_of(run).journals
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{run.id}{_SUFFIX}"
