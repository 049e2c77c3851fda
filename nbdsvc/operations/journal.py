"""The journal as the engine writes it: each function is one transaction.

A host writes an operation only while the operation is there (`step_host`) and this process holds the host's claim: who was
paused while another host or process went on, matches no row and writes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.operation_type import A, OperationType
from nbdsvc.store import backends, operation_locks, secrets, transitions
from nbdsvc.store import operations as rows
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.operation_locks import Claimed

# Tell engines by PostgreSQL's NOTIFY that there is work, and that an operation ended: whoever waits for it looks, and so do
# engines whose operations wait for its locks.
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
        """A transaction for what an operation came to; Interrupted where this process has lost its host to another.

        What it changes of the operation goes by `_update`, so that a host which the operation has left changes nothing.
        """
        with self._database.write() as conn:
            if self._claim:
                self._claim.check(conn, id)
            yield conn

    def _update(self, conn: sa.Connection, id: str, /, **changes: object) -> None:
        """Write the operation, which is here; Interrupted where it is not."""
        if not rows.update_on(conn, self._host, id, **changes):
            raise errors.Interrupted(operation=id)

    def _moved(self, conn: sa.Connection, place: Place | None) -> dict[str, object]:
        """What hands the operation over to that place, whose engine the commit wakes; nothing where it stays here."""
        if place is None:
            return {}
        self._database.notify(conn, CHANNEL)
        return {"step_host": place.host, "step_backend": place.backend, "taken_up": False}

    @contextmanager
    def _ending(self, id: str) -> Iterator[sa.Connection]:
        """A transaction that ends the operation: its locks and its secret go with it, and those that wait for it look."""
        with self._change(id) as conn:
            yield conn
            operation_locks.forget(conn, id)
            had_secret = secrets.forget(conn, id)
            self._database.notify(conn, ENDED_CHANNEL, self._host)
        if had_secret:
            self._database.scrub()

    @contextmanager
    def _recording(self, conn: sa.Connection, id: str) -> Iterator[None]:
        """Keep with the operation what its end did not change, because the row was in another status."""
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
        """BackendUnavailable where no host has ever reported such a backend; one that is down is waited for."""
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
        """Take it up: it holds its locks from now on. False where another one excludes it, or it is not as it was read.

        cursor, results: its first step begins in the same transaction, at `place` where that is given. One that was begun
        before holds its locks already. This counts as an attempt, unless it was just handed over.
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
            # What begins on another host at this moment is seen: the next statement comes after its commit.
            self._database.lock_name(conn, "begin of an operation")
            return rows.begin(conn, self._host, operation, **changes)

    def abandon(self, operation: Operation) -> None:
        """The operation is to end before anything of it was begun: it neither waits for locks nor holds any."""
        with self._change(operation.id) as conn:
            operation_locks.forget(conn, operation.id)
            attempts = operation.attempts + 1
            self._update(
                conn, operation.id, state=model.RUNNING, attempts=attempts, started_at=clock.now(), taken_up=True
            )

    def intend(self, id: str, cursor: int, results: dict[str, object], place: Place | None = None) -> None:
        """The results so far, and that step `cursor` is begun, or is to be begun at `place`."""
        with self._change(id) as conn:
            self._update(conn, id, state=model.RUNNING, cursor=cursor, results=results, **self._moved(conn, place))

    def undoing(self, id: str, cursor: int, error: errors.Error, place: Place | None = None) -> None:
        """The reason so far, and that the undo of step `cursor` is begun, or is to be begun at `place`."""
        with self._change(id) as conn:
            self._update(conn, id, **self._undo_of(conn, id, cursor, error), **self._moved(conn, place))

    def take_back(self, operation: Operation, error: errors.Error, place: Place) -> bool:
        """End the wait of this host's operation for another host: it is to be undone from the step before, at `place`.

        False where that host has taken it up: of the two that change the row, one finds it.
        """
        with self._change(operation.id) as conn:
            changes = self._undo_of(conn, operation.id, operation.cursor - 1, error) | self._moved(conn, place)
            return rows.take_back(conn, operation, **changes)

    def seize(self, operation: Operation, error: errors.Error, cursor: int, place: Place) -> bool:
        """`take_back`, of what a host that is gone may have taken up; cursor: of the undo that is next.

        False where that host wrote of it since it was read: of the two that change the row, one finds it.
        """
        with self._change(operation.id) as conn:
            changes = self._undo_of(conn, operation.id, cursor, error) | self._moved(conn, place)
            return rows.resume(conn, operation.step_host, operation, **changes)

    def make_home(self, conn: sa.Connection, id: str, place: Place) -> None:
        """In the caller's transaction: the operation, which is at that place, belongs there from now on."""
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
        """The rows get their final status in the transaction that ends the operation."""
        with self._ending(operation.id) as conn:
            self._update(conn, operation.id, state=model.SUCCEEDED, results=results, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.succeed(conn, rows.rows.get(conn, operation.id), args)

    def fail(self, operation_type: OperationType[A], operation: Operation, args: A, error: errors.Error) -> str:
        state = _ENDS.get(type(error), model.FAILED)
        with self._ending(operation.id) as conn:
            facts = secrets.without(errors.facts_of(error), secrets.of(conn, operation.id))
            self._update(conn, operation.id, state=state, error=facts, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.fail(conn, rows.rows.get(conn, operation.id), args, error)
        return state
