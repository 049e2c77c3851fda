"""Submits operations for use cases and waits for them, in the host's own process or in another one."""

import asyncio
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.journal import CHANNEL, ENDED_CHANNEL
from nbdsvc.operations.waiting import Waiters
from nbdsvc.store import operations as rows
from nbdsvc.store.database import Database

# Seconds between two polls for ends, where the engine is in another process and the database is SQLite: much shorter
# than an attach, and rare enough for the database. Polls are rarer when more than POLLED_AT_ONCE operations are
# awaited.
POLL_SECONDS = 0.05
POLLED_AT_ONCE = 100
# Seconds between two polls where the engine of this process, or PostgreSQL, notifies of each end: for lost
# notifications.
LOOK_SECONDS = 1.0


class Operations:
    """Wakes the engine for submitted operations, and waits for their end.

    engine: None in a process that only serves the API. notified: a Listener calls `notifications`, so that polling,
    every `look_seconds`, only serves lost notifications.
    """

    def __init__(
        self,
        database: Database,
        engine: Engine | None,
        *,
        notified: bool = False,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._notified = notified or engine is not None
        self._look_seconds = look_seconds
        self._database = database
        self._engine = engine
        self._waiters = Waiters(database, self._interval)
        if engine:
            engine.on_ended = self._waiters.ended

    def wake(self) -> None:
        if self._engine:
            self._engine.wake()

    def notifications(self) -> Mapping[str, Callable[[str], None]]:
        """The functions for a Listener: for new work, and for ends on other hosts, which may release awaited locks."""
        calls: dict[str, Callable[[str], None]] = {ENDED_CHANNEL: self._ended_on}
        return calls | {CHANNEL: lambda _host: self.wake()} if self._engine else calls

    def _ended_on(self, host: str) -> None:
        if self._engine and host == self._engine.host:
            return  # the engine of this process has notified already
        self._waiters.look()
        self.wake()

    def wait(self, id: str, timeout: float) -> Operation:
        """Wait for the operation's end and return the operation. timeout: seconds.

        Raises the operation's error if it failed; TimedOut if it has not ended, and then it goes on. The calling thread
        is blocked: requests use `ended`.
        """
        future = self._waiters.add(id)
        try:
            return _succeeded(future.result(timeout))
        except TimeoutError:
            raise errors.TimedOut(operation=id, seconds=timeout) from None
        finally:
            self._waiters.remove(id, future)

    async def ended(self, id: str, timeout: float) -> Operation:
        """Like `wait`, without blocking a thread."""
        future = self._waiters.add(id)
        try:
            return _succeeded(await asyncio.wait_for(asyncio.wrap_future(future), timeout))
        except TimeoutError:
            raise errors.TimedOut(operation=id, seconds=timeout) from None
        finally:
            self._waiters.remove(id, future)

    def cancel(self, conn: sa.Connection, id: str) -> None:
        """Request the operation's end; its present engine reads the request after the commit. InvalidState if ended."""
        if not rows.request_cancel(conn, id):
            state = rows.rows.get(conn, id).state
            raise errors.InvalidState(
                resource="Operation", id=id, action="be cancelled", status=state, allowed=["pending", "running"]
            )
        self._database.notify(conn, CHANNEL)

    def limit(self, conn: sa.Connection, id: str, rate: int) -> None:
        """Limit the operation's copies to `rate` bytes a second from now on; 0: no limit. InvalidState if ended."""
        if not rows.request_rate(conn, id, rate):
            state = rows.rows.get(conn, id).state
            raise errors.InvalidState(
                resource="Operation", id=id, action="be limited", status=state, allowed=["pending", "running"]
            )

    def cancelled(self, id: str) -> None:
        """Notify the engine at once; called after the commit of `cancel`."""
        if self._engine:
            self._engine.cancel(id)

    def _interval(self, waiting: int) -> float:
        return self._look_seconds if self._notified else POLL_SECONDS * (1 + waiting / POLLED_AT_ONCE)


def _succeeded(operation: Operation) -> Operation:
    if operation.error:
        raise errors.from_facts(operation.error)
    return operation
