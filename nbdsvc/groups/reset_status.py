"""Force the status of a group or of a group snapshot."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.store import groups
from nbdsvc.store import operations as journal


def reset_group_status(app: App, context: Context, id: str, status: str) -> None:
    """Force the status, whatever it is.

    Raises InvalidInput for a status that cannot be forced, Conflict while an operation works on the group, NotFound.
    """
    _check(status, states.GROUP_RESET)
    with app.change() as conn:
        groups.groups.get_for_update(conn, id, owner_scope(context))  # no operation may begin meanwhile
        _check_idle(conn, "group", id)
        groups.groups.force_status(conn, id, status)


def reset_group_snapshot_status(app: App, context: Context, id: str, status: str) -> None:
    """As `reset_group_status`, of a group snapshot."""
    _check(status, states.GROUP_SNAPSHOT_RESET)
    with app.change() as conn:
        groups.group_snapshots.get_for_update(conn, id, owner_scope(context))
        _check_idle(conn, "group snapshot", id)
        groups.group_snapshots.force_status(conn, id, status)


def _check(status: str, allowed: frozenset[str]) -> None:
    if status not in allowed:
        reason = f"must be one of {', '.join(sorted(allowed))}"
        raise errors.InvalidInput(field="status", value=status[:80], reason=reason)


def _check_idle(conn: sa.Connection, noun: str, id: str) -> None:
    if journal.busy(conn, id):
        raise errors.Conflict(reason=f"an operation on {noun} {id} is under way; cancel it instead")
