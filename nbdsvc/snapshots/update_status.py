"""os-update_snapshot_status: what a hypervisor reports that makes or removes a snapshot by itself.

No driver of ours has such snapshots: an operation makes and removes each, and says itself how that ends. So the action
changes only what no operation works on, as after an administrator's reset.
"""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

# What may be reported of a snapshot in this status.
REPORTED = {"creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting")}


def update_snapshot_status(app: App, context: Context, id: str, status: str, progress: str | None) -> None:
    """Set status and progress. Raises NotFound, InvalidState for a status that leads not to this one, and Conflict while
    an operation works on the snapshot.
    """
    with app.change() as conn:
        found = repositories.snapshots.get(conn, id, owner_scope(context))
        sources = [now for now, reported in REPORTED.items() if status in reported]
        if journal.busy(conn, id) and found.status in sources:
            reason = f"an operation works on snapshot {id}, and sets its status itself"
            raise errors.Conflict(reason=reason)
        changes = {} if progress is None else {"progress": progress}
        action = f"be reported as {status}"
        repositories.snapshots.transition(conn, id, sources, status, action=action, **changes)
