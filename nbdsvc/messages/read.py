"""Read user messages. A message is a failed operation: it is there as long as the journal keeps that operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope, scope
from nbdsvc.messages import events
from nbdsvc.model import operation as model
from nbdsvc.model.context import Context
from nbdsvc.model.listing import Filter, Page
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import tables
from nbdsvc.store.listing import list_rows

_FAILED = (model.FAILED, model.ROLLBACK_FAILED)


@dataclass(frozen=True)
class Message:
    """A message of Cinder's API: why an operation failed."""

    # The id of the operation is also the message's.
    id: str
    event_id: str
    # VOLUME, VOLUME_SNAPSHOT ...
    resource_type: str
    # The message is kept at least until then.
    guaranteed_until: datetime
    operation: Operation


def get_message(app: App, context: Context, id: str) -> Message:
    """The message; an administrator's of any project. Raises NotFound, also where the operation did not fail."""
    with app.database.read() as conn:
        return _message(app, find_failed(conn, context, id))


def list_messages(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Message]:
    """A page of the project's messages; with `all_tenants`, for an administrator, of every project's.

    Raises NotFound for the marker.
    """
    where = [tables.operations.c.state.in_(_FAILED), *events.conditions(filters)]
    rows = list_rows(app.database, journal.rows, scope(context, all_tenants), (), page, *where)
    return [_message(app, row) for row in rows]


def find_failed(conn: sa.Connection, context: Context, id: str) -> Operation:
    """The failed operation of a message. Raises NotFound."""
    found = journal.rows.find(conn, id, owner_scope(context))
    if found is None or found.state not in _FAILED:
        raise errors.NotFound(resource="Message", id=id)
    return found


def _message(app: App, row: Operation) -> Message:
    until = row.created_at + timedelta(days=app.settings.operations_kept)
    return Message(row.id, events.event_id(row), events.resource_type(row), until, row)
