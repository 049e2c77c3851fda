"""Derives notifications of operations, in the transactions of their begin and their end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.notifications import payloads
from nbdsvc.notifications.events import Subject, subjects
from nbdsvc.notifications.messages import message
from nbdsvc.notifications.payloads import Payload
from nbdsvc.store import operations as journal
from nbdsvc.store import outbox

START, END, ERROR = "start", "end", "error"
# The last words of events after whose success their subject has no row.
_REMOVALS = ("delete", "detach", "unmanage")


class OperationOutbox:
    """See store.outbox.Outbox. most: rows of the outbox."""

    def __init__(self, most: int) -> None:
        self._most = most

    def begun(self, conn: sa.Connection, operation: Operation) -> None:
        """See the contract."""
        for each in subjects(operation):
            self._add(conn, operation, each, START, payloads.read(conn, each.noun, each.id))

    @contextmanager
    def ending(self, conn: sa.Connection, id: str) -> Iterator[None]:
        """See the contract. What a failed creation goes on to try in another pool has not ended."""
        operation = journal.rows.get(conn, id)
        about = subjects(operation)
        before = {each: payloads.read(conn, each.noun, each.id) for each in about}
        yield
        operation = journal.rows.find(conn, id) or operation
        if not operation.finished or operation.continued_by:
            return
        for index, each in enumerate(about):
            after = payloads.read(conn, each.noun, each.id)
            succeeded = operation.state == model.SUCCEEDED if index == 0 else _has_succeeded(each, after)
            gone = None if after else _gone(before[each])
            self._add(conn, operation, each, END if succeeded else ERROR, after or gone)

    @contextmanager
    def changed(self, conn: sa.Connection, event: str, noun: str, id: str) -> Iterator[None]:
        """See the contract. A change that is made at once has a start and an end, too."""
        change, before = names.new_id(), payloads.read(conn, noun, id)
        self._put(conn, Subject(event, noun, id), START, before, change)
        yield
        self._put(conn, Subject(event, noun, id), END, payloads.read(conn, noun, id), change)

    def _put(self, conn: sa.Connection, about: Subject, phase: str, payload: Payload | None, change: str) -> None:
        found = payload or payloads.absent(about.noun, about.id)
        host, backend, _pool = names.split_host(str(found.get("host", "")))
        made = message(
            f"{about.event}.{phase}", found, names.join_host(host, backend), change, about.id, operation_id=change
        )
        outbox.add(conn, host, made, self._most)

    def _add(
        self, conn: sa.Connection, operation: Operation, about: Subject, phase: str, payload: Payload | None
    ) -> None:
        found = payload or payloads.absent(about.noun, about.id)
        if phase == ERROR and operation.error:
            found = {**found, "error": _error(operation.error)}
        place = names.join_host(operation.host, operation.backend)
        who = {"operation_id": operation.id, "request_id": operation.request_id, "requested_by": operation.user_id}
        made = message(f"{about.event}.{phase}", found, place, operation.id, about.id, **who)
        outbox.add(conn, operation.host, made, self._most)


def _has_succeeded(each: Subject, after: Payload | None) -> bool:
    """Of one among several: by its row, because an operation on a group may fail for some of them only."""
    if each.event.rpartition(".")[2] in _REMOVALS:
        return after is None
    return after is not None and not str(after["status"]).startswith("error")


def _gone(before: Payload | None) -> Payload | None:
    return {**before, "status": "deleted"} if before else None


def _error(facts: Mapping[str, Any]) -> dict[str, str]:
    error = errors.from_facts(dict(facts))
    return {"type": type(error).__name__, "message": str(error)}
