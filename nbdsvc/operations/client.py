"""How use cases admit operations and wait for them, in the host's own process or in another one."""

import time
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations.engine import Engine
from nbdsvc.store import operations as rows
from nbdsvc.store.database import Database

# Where the engine is in another process the end is polled for: short against an attach, cheap against the database.
POLL_SECONDS = 0.05
CHANNEL = "nbdsvc_operations"


class Operations:
    """`engine` is None in a process that only serves the API."""

    def __init__(self, database: Database, engine: Engine | None) -> None:
        self._database = database
        self._engine = engine

    def admit(self, conn: sa.Connection, operation: Operation) -> Operation:
        """Write it in the caller's transaction. Call `wake` after the commit."""
        rows.insert(conn, operation)
        self._database.notify(conn, CHANNEL)
        return operation

    def wake(self) -> None:
        if self._engine:
            self._engine.wake()

    def wait(self, id: str, timeout: float) -> Operation:
        """The ended operation; raises its error if it failed, TimedOut if it has not ended (it goes on)."""
        end = time.monotonic() + timeout
        while True:
            with self._database.read() as conn:
                operation = rows.rows.get(conn, id)
            if operation.finished:
                if operation.error:
                    raise errors.from_facts(operation.error)
                return operation
            left = end - time.monotonic()
            if left <= 0:
                raise errors.TimedOut(operation=id, seconds=timeout)
            self._pause(min(left, POLL_SECONDS))

    def cancel(self, conn: sa.Connection, id: str) -> None:
        if not rows.request_cancel(conn, id):
            state = rows.rows.get(conn, id).state
            raise errors.InvalidState(
                resource="Operation", id=id, action="be cancelled", status=state, allowed=["pending", "running"]
            )

    def limit(self, conn: sa.Connection, id: str, rate: int) -> None:
        """Let it copy at most `rate` bytes a second from now on; 0: as fast as it can."""
        if not rows.request_rate(conn, id, rate):
            state = rows.rows.get(conn, id).state
            raise errors.InvalidState(
                resource="Operation", id=id, action="be limited", status=state, allowed=["pending", "running"]
            )

    def cancelled(self, id: str) -> None:
        """After the commit of `cancel`: tell the engine at once."""
        if self._engine:
            self._engine.cancel(id)

    def _pause(self, seconds: float) -> Any:
        return self._engine.wait_ended(seconds) if self._engine else time.sleep(seconds)
