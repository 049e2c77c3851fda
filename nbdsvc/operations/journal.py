"""The engine's writes to the journal: each function is one transaction.

A host writes an operation only while the operation is on it (`step_host`) and this process holds the host's claim. So a
process that was paused while another host or process went on matches no row and writes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.operation_type import A, OperationType
from nbdsvc.store import backends, operation_locks, outbox, secrets, transitions
from nbdsvc.store import operations as rows
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.operation_locks import Claimed

# Channels of PostgreSQL's NOTIFY: for new work, and for the end of an operation. On an end, processes that wait for the
# operation read its state, and engines look for operations that wait for its locks.
CHANNEL = "nbdsvc_operations"
ENDED_CHANNEL = "nbdsvc_ended"
_ENDS: dict[type[errors.Error], str] = {
    errors.Cancelled: model.CANCELLED,
    errors.RollbackFailed: model.ROLLBACK_FAILED,
}


class Journal:
    """The journal of one host."""

    def __init__(self, database: Database, host: str, claim: Claim | None = None) -> None:
        self._database = database
        self._host = host
        self._claim = claim

    @contextmanager
    def _change(self, id: str) -> Iterator[sa.Connection]:
        """A transaction for a change of the operation. Raises Interrupted when another process has taken over the host.

        Changes of the operation's row are made by `_update`, so that a host that the operation has left changes
        nothing.
        """
        with self._database.write() as conn:
            if self._claim:
                self._claim.check(conn, id)
            yield conn

    def _update(self, conn: sa.Connection, id: str, /, **changes: object) -> None:
        """Write the operation's row. Raises Interrupted when the operation is not on this host."""
        if not rows.update_on(conn, self._host, id, **changes):
            raise errors.Interrupted(operation=id)

    def _moved(self, conn: sa.Connection, place: Place | None) -> dict[str, object]:
        """The changes that hand the operation over to `place`, whose engine the commit wakes; none without it."""
        if place is None:
            return {}
        self._database.notify(conn, CHANNEL)
        return {"step_host": place.host, "step_backend": place.backend, "taken_up": False}

    @contextmanager
    def _ending(self, operation: Operation) -> Iterator[sa.Connection]:
        """A transaction that ends the operation: it removes the locks and the secret, and notifies of the end."""
        id = operation.id
        with self._change(id) as conn:
            transitions.hold_subjects(conn, operation)
            yield conn
            operation_locks.forget(conn, id)
            had_secret = secrets.forget(conn, id)
            self._database.notify(conn, ENDED_CHANNEL, self._host)
        if had_secret:
            self._database.scrub()

    @contextmanager
    def _recording(self, conn: sa.Connection, id: str) -> Iterator[None]:
        """Record with the operation which rows its end did not change, because they had another status; report the end."""
        with outbox.ending(self._database.outbox, conn, id):
            with transitions.recording_skipped() as skipped:
                yield
            if skipped:
                self._update(conn, id, skipped=skipped)

    def unfinished(self) -> list[Operation]:
        """See store/operations.py."""
        with self._database.read() as conn:
            return rows.unfinished(conn, self._host)

    def claimed(self) -> list[Claimed]:
        """See store/operation_locks.py."""
        with self._database.read() as conn:
            return operation_locks.claimed(conn)

    def get(self, id: str) -> Operation:
        with self._database.read() as conn:
            return rows.rows.get(conn, id)

    def control_flags(self, id: str) -> tuple[bool, int]:
        """See store/operations.py."""
        with self._database.read() as conn:
            return rows.control_flags(conn, id)

    def check_backend(self, place: Place) -> None:
        """Raise BackendUnavailable for a backend that no host has ever reported; one that is down is awaited."""
        full_name = names.join_host(place.host, place.backend)
        with self._database.read() as conn:
            if not place.host or backends.find(conn, full_name) is None:
                raise errors.BackendUnavailable(backend=full_name, reason="no host has reported a backend of this name")

    def begin(
        self,
        operation: Operation,
        cursor: int | None = None,
        results: dict[str, object] | None = None,
        place: Place | None = None,
    ) -> bool:
        """Take the operation up: it holds its locks from now on. False when another operation excludes it, or its row
        has changed since it was read.

        cursor, results: the first step, which begins in the same transaction, at `place` if given. An operation that
        was begun before holds its locks already. This counts as an attempt, unless the operation was just handed over.
        """
        is_new = operation.state == model.PENDING
        changes: dict[str, object] = {
            "state": model.UNDOING if operation.state == model.UNDOING else model.RUNNING,
            "attempts": operation.attempts + (is_new or operation.taken_up),
            "started_at": operation.started_at or clock.now(),
            "taken_up": True,
        }
        changes |= {} if cursor is None else {"cursor": cursor, "results": results or {}}
        with self._change(operation.id) as conn:
            changes |= self._moved(conn, place)
            if not is_new:
                return rows.resume(conn, self._host, operation, **changes)
            # The lock orders this after the commit of an operation that begins on another host at this moment.
            self._database.lock_name(conn, "begin of an operation")
            return rows.begin(conn, self._host, operation, **changes)

    def abandon(self, operation: Operation) -> None:
        """Take up an operation that ends before it has begun: it neither waits for locks nor holds any."""
        with self._change(operation.id) as conn:
            operation_locks.forget(conn, operation.id)
            attempts = operation.attempts + 1
            self._update(
                conn, operation.id, state=model.RUNNING, attempts=attempts, started_at=clock.now(), taken_up=True
            )

    def intend(self, id: str, cursor: int, results: dict[str, object], place: Place | None = None) -> None:
        """Record the results so far, and that step `cursor` begins, or is to begin at `place`."""
        with self._change(id) as conn:
            self._update(conn, id, state=model.RUNNING, cursor=cursor, results=results, **self._moved(conn, place))

    def undoing(self, id: str, cursor: int, error: errors.Error, place: Place | None = None) -> None:
        """Record the error so far, and that the undo of step `cursor` begins, or is to begin at `place`."""
        with self._change(id) as conn:
            self._update(conn, id, **self._undo_of(conn, id, cursor, error), **self._moved(conn, place))

    def take_back(self, operation: Operation, error: errors.Error, place: Place) -> bool:
        """Take this host's operation back from another host, to be undone from the step before, at `place`.

        False when that host has taken the operation up: only one of two hosts that change the row at once matches it.
        """
        with self._change(operation.id) as conn:
            changes = self._undo_of(conn, operation.id, operation.cursor - 1, error) | self._moved(conn, place)
            return rows.take_back(conn, operation, **changes)

    def seize(self, operation: Operation, error: errors.Error, cursor: int, place: Place) -> bool:
        """Like `take_back`, for an operation that a host which is gone may have taken up. cursor: the next undo's.

        False when that host has written the row since it was read: only one of two hosts that change it matches it.
        """
        with self._change(operation.id) as conn:
            changes = self._undo_of(conn, operation.id, cursor, error) | self._moved(conn, place)
            return rows.resume(conn, operation.step_host, operation, **changes)

    def make_home(self, conn: sa.Connection, id: str, place: Place) -> None:
        """Make `place`, where the operation is, its own place; in the caller's transaction."""
        self._update(conn, id, host=place.host, backend=place.backend)

    def _undo_of(self, conn: sa.Connection, id: str, cursor: int, error: errors.Error) -> dict[str, object]:
        facts = secrets.without(errors.facts_of(error), secrets.of(conn, id))
        return {"state": model.UNDOING, "cursor": cursor, "error": facts}

    def progress(self, id: str, done: int, total: int, text: str, data: int, rate: int) -> None:
        changes = {"progress_done": done, "progress_total": total, "progress_text": text}
        with self._change(id) as conn:
            self._update(conn, id, **changes, progress_data=data, progress_rate=rate)

    def succeed(
        self, operation_type: OperationType[A], operation: Operation, args: A, results: dict[str, object]
    ) -> None:
        """End the operation as succeeded; the rows get their final status in the same transaction."""
        with self._ending(operation) as conn:
            self._update(conn, operation.id, state=model.SUCCEEDED, results=results, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.succeed(conn, rows.rows.get(conn, operation.id), args)

    def fail(self, operation_type: OperationType[A], operation: Operation, args: A, error: errors.Error) -> str:
        state = _ENDS.get(type(error), model.FAILED)
        with self._ending(operation) as conn:
            facts = secrets.without(errors.facts_of(error), secrets.of(conn, operation.id))
            self._update(conn, operation.id, state=state, error=facts, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.fail(conn, rows.rows.get(conn, operation.id), args, error)
        return state
