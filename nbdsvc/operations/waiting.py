"""Waiters for the end of operations: any number of requests, and one thread that polls for all of them.

A waiting request costs a future and no thread, so that a thousand of them do not slow other requests down.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as rows
from nbdsvc.store.database import Database

Ended = Future[Operation]


class Waiters:
    """Futures for ends of operations. interval: seconds between two polls, by the number of awaited operations."""

    def __init__(self, database: Database, interval: Callable[[int], float]) -> None:
        self._database = database
        self._interval = interval
        self._worth_it = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Ended]] = {}
        self._is_looking = False

    def add(self, id: str) -> Ended:
        """A future of the ended operation, however it ended. It may raise NotFound, or an error of the database."""
        made = Ended()
        with self._lock:
            self._waiting.setdefault(id, []).append(made)
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look_forever, name="waiter", daemon=True).start()
        self.look()  # the operation may have ended already
        return made

    def look(self) -> None:
        """Poll at once."""
        self._worth_it.set()

    def ended(self, id: str) -> None:
        """Resolve the futures of this operation, which has ended, in the caller's thread: a change of threads, beside the
        engine that looks for work, costs a waiting client more than this read.
        """
        if id in self._waiting:
            for each, outcome in self._outcomes([id]).items():
                self._resolve(each, outcome)

    def remove(self, id: str, future: Ended) -> None:
        """Remove a future that is not awaited any more."""
        with self._lock:
            left = [other for other in self._waiting.pop(id, []) if other is not future]
            if left:
                self._waiting[id] = left

    def _look_forever(self) -> None:
        """The thread's function, which ends when there is no future left; the next `add` starts another thread."""
        while True:
            self._worth_it.wait(self._interval(len(self._waiting)))
            self._worth_it.clear()
            with self._lock:
                ids = list(self._waiting)
                self._is_looking = bool(ids)
            if not ids:
                return
            for id, outcome in self._outcomes(ids).items():
                self._resolve(id, outcome)

    def _outcomes(self, ids: list[str]) -> dict[str, Operation | errors.Error]:
        try:
            with self._database.read() as conn:
                found = rows.states(conn, ids)
                ended: dict[str, Operation | errors.Error] = {
                    id: rows.rows.get(conn, id) for id, finished in found.items() if finished
                }
        except errors.Error as error:
            return dict.fromkeys(ids, error)
        except Exception as error:  # a bug here must not let a request wait for ever
            return dict.fromkeys(ids, errors.InternalError(reason=repr(error)))
        missing = {id: errors.NotFound(resource="Operation", id=id) for id in ids if id not in found}
        return ended | missing

    def _resolve(self, id: str, outcome: Operation | errors.Error) -> None:
        with self._lock:
            futures = self._waiting.pop(id, [])
        for future in futures:
            if future.set_running_or_notify_cancel():
                if isinstance(outcome, errors.Error):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
