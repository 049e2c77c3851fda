"""Step copy of a move between hosts: the bytes, from the source's host into the destination's export (serve.py)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from nbdsvc import atomic_file, errors, journaled_copy
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.host import Host, host_of
from nbdsvc.location import Location
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import secrets
from nbdsvc.volumes.fill import fingerprint_of
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.fill import check_size
from nbdsvc.volumes.moves.hooks import call_at_source
from nbdsvc.volumes.moves.places import Places, is_switched, read_places

log = structlog.get_logger(__name__)

# A destination that is away longer ends the move: more than a large machine takes to start again.
AWAY_SECONDS = 900.0
# Writing failed so often, each time so soon after its export answered: it cannot write, and is not away.
TRIES, SOON_SECONDS = 5, 30.0
_PAUSE_SECONDS = 0.5
_TICK_SECONDS = 0.05


def send(run: Run[MoveArgs]) -> dict[str, int]:
    """Copy the bytes; a destination that goes away is waited for, and the copy goes on where its journal ends.

    ReadFailed where the source is shorter than the volume, WriteFailed or OutOfSpace where the destination cannot write or
    stays away.
    """
    places = read_places(run)
    call_at_source(places, "before_volume_copy")
    try:
        with key_file(run) as key:
            return _send(run, places, Location("nbd", run.results["serve"]["uri"], {"tls_psk_file": str(key)}))
    finally:
        call_at_source(places, "after_volume_copy")


def undo_send(run: Run[MoveArgs]) -> None:
    """Also where the process died before it could call the second hook."""
    forget_copy(run)
    if not is_switched(run):
        call_at_source(read_places(run), "after_volume_copy")


def forget_copy(run: Run[MoveArgs]) -> None:
    """Remove what the copy keeps beside the volume: its journal, and its key."""
    journaled_copy.remove_journal(run)
    _key_path(host_of(run), run.id).unlink(missing_ok=True)


def _key_path(host: Host, id: str) -> Path:
    return host.journals / f"{id}{journaled_copy.KEY_SUFFIX}"


@contextmanager
def key_file(run: Run[MoveArgs]) -> Iterator[Path]:
    """The operation's key as libnbd reads it: of the user that the export has its id for."""
    host = host_of(run)
    with host.database.read() as conn:
        secret = secrets.of(conn, run.id)
    if secret is None:
        raise errors.InternalError(reason=f"operation {run.id} has lost the key of its export")
    host.journals.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _key_path(host, run.id)
    atomic_file.write(path, f"{run.id}:{secret}\n".encode())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _send(run: Run[MoveArgs], places: Places, target: Location) -> dict[str, int]:
    patience = _Patience()
    while True:
        try:
            with _opened(run, target) as sink:
                patience.note_answer()
                return _fill(run, places, sink)
        except errors.WriteFailed as error:
            patience.note(error)
            log.warning("the destination of a migration fails", operation=run.id, reason=str(error))
        _pause(run)


@contextmanager
def _opened(run: Run[MoveArgs], target: Location) -> Iterator[sinks.Sink]:
    is_zero = not journaled_copy.is_begun(run)
    with (
        journaled_copy.open_interruptibly(
            run, lambda: sinks.open(target, is_zero=is_zero), lambda late: late.close()
        ) as sink,
        sink,
    ):
        yield sink


def _fill(run: Run[MoveArgs], places: Places, sink: sinks.Sink) -> dict[str, int]:
    origin, size = places.source.driver.location(places.here), places.here.size
    with sources.open(origin) as source:
        check_size(source, size)
        source.cut(size)
        return journaled_copy.fill(run, source, sink, size, fingerprint_of(origin), empty=True)


def _pause(run: Run[MoveArgs]) -> None:
    end = time.monotonic() + _PAUSE_SECONDS
    while time.monotonic() < end:
        run.raise_if_stopped()
        time.sleep(_TICK_SECONDS)


class _Patience:
    """With a destination that fails: whether it is tried again."""

    def __init__(self) -> None:
        self._answered = time.monotonic()
        self._is_away = True
        self._failures = 0

    def note_answer(self) -> None:
        self._answered, self._is_away = time.monotonic(), False

    def note(self, error: errors.WriteFailed) -> None:
        """Raises it where the destination stays away, or answers and fails again and again."""
        now = time.monotonic()
        if self._is_away:
            if now - self._answered > AWAY_SECONDS:
                raise error
            return
        self._failures = self._failures + 1 if now - self._answered < SOON_SECONDS else 1
        self._answered, self._is_away = now, True
        if self._failures >= TRIES:
            raise error
