"""/messages, from microversion 3.3: why what somebody asked for did not happen, read from the operations that failed.

A message is its operation in the field's words: it is there as soon as the operation has failed, and as long as the
journal keeps it. Deleting the message forgets the operation.
"""

import re
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from fastapi.responses import JSONResponse, Response

from nbdsvc import app as manager
from nbdsvc import errors
from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.request import Ask, Asked, answer
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import tables
from nbdsvc.store.rows import Page

router = strict.router("messages")

_SINCE, _PAGES_SINCE = (3, 3), (3, 5)
_FAILED = (model.FAILED, model.ROLLBACK_FAILED)
_TYPES = {"volume": "VOLUME", "snapshot": "VOLUME_SNAPSHOT"}
# The field's numbers of what was being done (cinder/message/message_field.py); 001 is the scheduler, 000 anything else.
_ACTIONS = {
    "volume.create": "001",
    "attachment.connect": "002",
    "volume.upload": "003",
    "volume.extend": "007",
    "snapshot.create": "010",
    "snapshot.delete": "011",
}
_OTHER = "000"


@router.get("/messages")
def listing(asked: Ask) -> JSONResponse:
    """Why operations failed, newest first. From 3.3; in pages from 3.5."""
    asked.require(_SINCE)
    project = manager.scope(asked.context, asked.flag("all_tenants"))
    most = Page(limit=asked.app.settings.max_limit)
    wanted = most if asked.version < _PAGES_SINCE else paging.page(asked, ("id", "created_at"), project=project)
    where: list[Any] = [tables.operations.c.state.in_(_FAILED)]
    if project is not None:
        where.append(tables.operations.c.project_id == project)
    for name, value, _ in filters.known(asked, "messages"):
        where.append(_condition(name, value))
    with asked.app.database.read() as conn:
        rows = journal.rows.select(conn, *where, page=wanted)
    shown = [_view(asked, row) for row in rows]
    return answer({"messages": shown, **paging.next_link(asked, "messages", "messages", wanted, rows)})


@router.get("/messages/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One message. From 3.3."""
    return answer({"message": _view(asked, _get(asked, id))})


@router.delete("/messages/{id}", status_code=204, response_class=Response)
def delete(asked: Ask, id: str) -> Response:
    """Forget a message, and the operation that it is read from. From 3.3."""
    found = _get(asked, id)
    with asked.app.change() as conn:
        journal.rows.delete(conn, found.id)
    return Response(status_code=204)


def _get(asked: Asked, id: str) -> Operation:
    asked.require(_SINCE)
    with asked.app.database.read() as conn:
        found = journal.rows.find(conn, id, manager.owner_scope(asked.context))
    if found is None or found.state not in _FAILED:
        raise errors.NotFound(resource="Message", id=id)
    return found


def _condition(name: str, value: str) -> Any:
    """The filter `name` of messages as a condition on the operations that they are."""
    columns = tables.operations.c
    if name == "message_level":
        return sa.true() if value == "ERROR" else sa.false()
    if name == "event_id":
        return _of_event(value)
    if name == "resource_type":
        return columns.resource_type == {kind: own for own, kind in _TYPES.items()}.get(value, value.lower())
    return columns["resource_id" if name == "resource_uuid" else name] == value


def _of_event(event: str) -> Any:
    """The operations whose message has this event_id."""
    found = re.fullmatch(r"VOLUME_([A-Z_]+)_([0-9]{3})_001", event)
    if not found:
        return sa.false()
    columns = tables.operations.c
    kinds = [kind for kind, number in _ACTIONS.items() if number == found[2]]
    kind = columns.kind.in_(kinds) if found[2] != _OTHER else columns.kind.not_in(_ACTIONS)
    return sa.and_(kind, _condition("resource_type", found[1]))


def _view(asked: Asked, row: Operation) -> dict[str, Any]:
    kind = _TYPES.get(row.resource_type, row.resource_type.upper())
    until = row.created_at + timedelta(days=asked.app.settings.operations_kept)
    href = asked.link("v3", asked.context.project_id, "messages", row.id)
    return {
        "id": row.id,
        "event_id": f"VOLUME_{kind}_{_ACTIONS.get(row.kind, _OTHER)}_001",
        "user_message": f"{row.kind.replace('.', ' ')}: {views.failure(row, asked.context) or 'it failed'}",
        "message_level": "ERROR",
        "resource_type": kind,
        "resource_uuid": row.resource_id,
        "request_id": row.request_id,
        "created_at": views.stamp(row.created_at),
        "guaranteed_until": views.stamp(until),
        "links": [{"rel": "self", "href": href}, {"rel": "bookmark", "href": href}],
    }
