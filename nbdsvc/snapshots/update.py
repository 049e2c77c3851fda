"""Change what a snapshot's row says, without any work on its bytes: name, description, metadata; by force its status."""

from nbdsvc import errors
from nbdsvc.manager.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.store import nouns
from nbdsvc.store import operations as journal


def update_snapshot(app: App, context: Context, id: str, **changes: object) -> Snapshot:
    """Change name or description. Raises NotFound."""
    with app.change() as conn:
        nouns.snapshots.get(conn, id, owner_scope(context))
        nouns.snapshots.update(conn, id, **changes)
        return nouns.snapshots.get(conn, id)


def reset_snapshot_status(app: App, id: str, status: str) -> None:
    """Force the status (os-reset_status), whatever it is.

    Raises InvalidInput for a status that cannot be forced, Conflict while an operation works on the snapshot, NotFound.
    """
    if status not in states.SNAPSHOT_RESET:
        allowed = ", ".join(sorted(states.SNAPSHOT_RESET))
        raise errors.InvalidInput(field="status", value=status[:80], reason=f"must be one of {allowed}")
    with app.change() as conn:
        nouns.snapshots.get_for_update(conn, id)  # an operation that begins now would move it
        if journal.busy(conn, id):
            raise errors.Conflict(reason=f"an operation on snapshot {id} is under way; cancel it instead")
        nouns.snapshots.force_status(conn, id, status)
