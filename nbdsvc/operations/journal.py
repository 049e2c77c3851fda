"""The journal as the engine writes it: each function is one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import A, OperationType
from nbdsvc.store import operation_locks, secrets, transitions
from nbdsvc.store import operations as rows
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.operation_locks import Claimed

# Tells processes that wait for the end of an operation to look, by PostgreSQL's NOTIFY.
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
        """A transaction for what an operation came to; Interrupted where this process has lost its host to another."""
        with self._database.write() as conn:
            if self._claim:
                self._claim.check(conn, id)
            yield conn

    @contextmanager
    def _ending(self, id: str) -> Iterator[sa.Connection]:
        """A transaction that ends the operation: its locks and its secret go with it, and those that wait for it look."""
        with self._change(id) as conn:
            yield conn
            operation_locks.forget(conn, id)
            had_secret = secrets.forget(conn, id)
            self._database.notify(conn, ENDED_CHANNEL)
        if had_secret:
            self._database.scrub()

    @contextmanager
    def _recording(self, conn: sa.Connection, id: str) -> Iterator[None]:
        """Keep with the operation what its end did not change, because the row was in another status."""
        with transitions.recording_skipped() as skipped:
            yield
        if skipped:
            rows.update(conn, id, skipped=skipped)

    def unfinished(self) -> list[Operation]:
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

    def begin(self, operation: Operation, cursor: int | None = None, results: dict[str, object] | None = None) -> bool:
        """Count another attempt of the operation, which holds its locks from now on; False where another one excludes it.

        cursor, results: its first step begins in the same transaction. One that was begun before holds its locks already.
        """
        state = operation.state if operation.state == model.UNDOING else model.RUNNING
        changes: dict[str, object] = {"state": state, "attempts": operation.attempts + 1}
        changes |= {} if cursor is None else {"cursor": cursor, "results": results or {}}
        with self._change(operation.id) as conn:
            changes["started_at"] = operation.started_at or clock.now()
            if operation.state != model.PENDING:
                rows.update(conn, operation.id, **changes)
                return True
            # What begins on another host at this moment is seen: the next statement comes after its commit.
            self._database.lock_name(conn, "begin of an operation")
            return rows.begin(conn, operation.id, **changes)

    def abandon(self, operation: Operation) -> None:
        """The operation is to end before anything of it was begun: it neither waits for locks nor holds any."""
        with self._change(operation.id) as conn:
            operation_locks.forget(conn, operation.id)
            rows.update(
                conn, operation.id, state=model.RUNNING, attempts=operation.attempts + 1, started_at=clock.now()
            )

    def intend(self, id: str, cursor: int, results: dict[str, object]) -> None:
        """The results so far, and that step `cursor` is begun."""
        with self._change(id) as conn:
            rows.update(conn, id, state=model.RUNNING, cursor=cursor, results=results)

    def undoing(self, id: str, cursor: int, error: errors.Error) -> None:
        with self._change(id) as conn:
            facts = secrets.without(errors.facts_of(error), secrets.of(conn, id))
            rows.update(conn, id, state=model.UNDOING, cursor=cursor, error=facts)

    def progress(self, id: str, done: int, total: int, text: str, data: int, rate: int) -> None:
        changes = {"progress_done": done, "progress_total": total, "progress_text": text}
        with self._change(id) as conn:
            rows.update(conn, id, **changes, progress_data=data, progress_rate=rate)

    def succeed(
        self, operation_type: OperationType[A], operation: Operation, args: A, results: dict[str, object]
    ) -> None:
        """The rows get their final status in the transaction that ends the operation."""
        with self._ending(operation.id) as conn:
            rows.update(conn, operation.id, state=model.SUCCEEDED, results=results, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.succeed(conn, rows.rows.get(conn, operation.id), args)

    def fail(self, operation_type: OperationType[A], operation: Operation, args: A, error: errors.Error) -> str:
        state = _ENDS.get(type(error), model.FAILED)
        with self._ending(operation.id) as conn:
            facts = secrets.without(errors.facts_of(error), secrets.of(conn, operation.id))
            rows.update(conn, operation.id, state=state, error=facts, finished_at=clock.now())
            with self._recording(conn, operation.id):
                operation_type.fail(conn, rows.rows.get(conn, operation.id), args, error)
        return state
