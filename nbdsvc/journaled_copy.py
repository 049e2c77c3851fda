"""A copy as a step of an operation: journalled so that it resumes, with progress, cancel and rate limits.

How many copies run at once, the engine decides: see Step.copies."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from nbdsvc import atomic_file, errors
from nbdsvc.datapath import abandoning
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.rate_limit import Limit
from nbdsvc.datapath.reconcile import reconcile
from nbdsvc.datapath.sink import Sink, nowhere
from nbdsvc.datapath.source import Source
from nbdsvc.host import Backend, Host, backend_of, host_of
from nbdsvc.location import Location
from nbdsvc.model import operation as model
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import operations as journal

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Of the notes of a copy, and of what it makes on disk before it is sent.
SUFFIX = ".copy"
# The key of an export that a copy writes to, for as long as it does (volumes/moves/send.py).
KEY_SUFFIX = ".psk"


def fill(
    run: Run[Any],
    source: Source,
    destination: Location | Sink,
    size: int,
    fingerprint: bytes,
    *,
    empty: bool,
    digests: Digests | None = None,
    others: Sequence[Backend] = (),
) -> dict[str, int]:
    """Copy `source` to the `size` bytes of `destination`; a copy that was interrupted goes on where its journal says.

    fingerprint: identifies the source, so that a journal of another one is not used. empty: the destination reads as zeros
    before the first try; of a sink, its maker tells that (`is_begun`). digests: filled with those of the bytes. others:
    backends whose limits hold too.

    Returns bytes: size, data (written), skipped (zeros).
    """
    path = _journal(run)
    how = {"journal": path, "fingerprint": fingerprint, "digests": digests}
    is_zero = empty and not is_begun(run)
    return _copy(run, source, destination, others, size=size, destination_is_zero=is_zero, **how)


def is_begun(run: Run[Any]) -> bool:
    """Whether an earlier try of this copy may have written something; one of a lost host has its journal there."""
    return model.TAKEN_OVER in run.results or _journal(run).exists()


def begin_without_journal(run: Run[Any]) -> bool:
    """Note that the operation writes to its destination without a journal; True where it had not before."""
    path = _journal(run)
    is_first, is_new = not is_begun(run), not path.exists()
    path.touch(mode=0o600)
    if is_new:  # a host that loses power keeps what it wrote there, and must keep the note of it
        atomic_file.sync_folder(path.parent)
    return is_first


def write_to_sink(run: Run[Any], source: Source, sink: Sink) -> dict[str, int]:
    """Copy `source` to a sink that cannot resume: every try begins anew."""
    return _copy(run, source, sink)


def compute_digests(run: Run[Any], source: Source) -> Digests:
    """The digests of all bytes of `source`."""
    digests = Digests(source.size)
    with nowhere() as sink:
        _copy(run, source, sink, size=source.size, digests=digests)
    return digests


def write_differences(run: Run[Any], source: Location, destination: Location, size: int) -> dict[str, int]:
    """Make `destination` read like `source`, writing only what differs. Unsupported where one is not of this host."""
    written = reconcile(
        source.path,
        destination.path,
        size,
        lambda done, total, data: run.progress(done, total, "comparing", data),
        run.should_stop,
    )
    if written is None:
        run.raise_if_stopped()
        raise errors.Interrupted(operation=run.id)
    return {"size": size, "data": written, "skipped": size - written}


def check_room(run: Run[Any], pool: str, source: Source) -> None:
    """OutOfSpace before the first byte where this pool has no room for what the source has."""
    driver = backend_of(run).driver
    if driver.facts.thin and not source.sequential:
        driver.check_room(pool, sum(length for _, length, zero in source.extents() if not zero))


def _copy(
    run: Run[Any], source: Source, destination: Location | Sink, others: Sequence[Backend] = (), **how: Any
) -> dict[str, int]:
    run.raise_if_stopped()  # reads the rate anew, which may have been set while the step prepared its copy
    own, backend = Limit(run.rate), backend_of(run)

    def report(done: int, total: int, data: int) -> None:
        run.progress(done, total, "copying", data)
        if run.rate != own.rate:
            own.rate = run.rate

    with stop_as_error(run):
        result = copy(
            source,
            destination,
            limits=[own, backend.rate, *(other.rate for other in others)],
            cpu=backend.cpu,
            on_progress=report,
            should_stop=run.should_stop,
            **how,
        )
    return {"size": result.size, "data": result.data, "skipped": result.skipped}


@contextmanager
def stop_as_error(run: Run[Any]) -> Iterator[None]:
    """A copy that stopped because of should_stop raises what the run raises: Cancelled, TimedOut or Interrupted."""
    try:
        yield
    except Stopped:
        run.raise_if_stopped()
        raise errors.Interrupted(operation=run.id) from None


@contextmanager
def abort_reads_on_stop(run: Run[Any], source: Source) -> Iterator[None]:
    """A block in which a cancel or deadline of the operation aborts a blocked read of the source, also outside a copy."""
    finished = threading.Event()
    watcher = threading.Thread(target=_abort_on_stop, args=(run, source, finished), name="copy-watcher")
    watcher.start()
    try:
        yield
    except errors.Error:
        run.raise_if_stopped()  # raises the reason for which the read was aborted
        raise
    finally:
        finished.set()
        watcher.join()


def _abort_on_stop(run: Run[Any], source: Source, finished: threading.Event) -> None:
    while not finished.wait(abandoning.TICK_SECONDS):
        if run.should_stop():
            source.abort()
            return


@contextmanager
def open_interruptibly(run: Run[Any], function: Callable[[], T], late: Callable[[T], None]) -> Iterator[T]:
    """The result of `function`, which may block on a server, until the operation is to stop. `late` closes a late result."""
    try:
        with abandoning.opened(function, run.should_stop, late) as found:
            yield found
    except (abandoning.Abandoned, Stopped):
        run.raise_if_stopped()
        raise errors.Interrupted(operation=run.id) from None


def remove_journal(run: Run[Any]) -> None:
    """Remove the journal of a copy that is recorded as done, or undone."""
    _journal(run).unlink(missing_ok=True)


def remove_journal_of(host: Host, operation: str) -> None:
    """Remove the journal of this operation's copy, which has ended."""
    (host.journals / f"{operation}{SUFFIX}").unlink(missing_ok=True)


def remove_stale_journals(host: Host) -> None:
    """Remove the journals and keys of operations that have ended: one whose undo failed, or was left out, leaves its own."""
    for path in [*host.journals.glob(f"*{SUFFIX}"), *host.journals.glob(f"*{KEY_SUFFIX}*")]:
        id = path.name.lstrip(".").partition(".")[0]  # also of the part of a key whose writer was killed
        with host.database.read() as conn:
            found = journal.rows.find(conn, id)
        if found is None or found.finished:
            log.warning("removing the journal of a copy that has ended", operation=id)
            path.unlink(missing_ok=True)


def _journal(run: Run[Any]) -> Path:
    folder = host_of(run).journals
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{run.id}{SUFFIX}"
