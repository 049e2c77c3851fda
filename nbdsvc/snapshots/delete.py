"""Delete a snapshot."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import snapshot_of, snapshot_ref
from nbdsvc.store import nouns
from nbdsvc.store import operations as journal


def delete_snapshot(app: App, context: Context, id: str, *, force: bool = False) -> None:
    """Start deleting a snapshot; `force`: from any status. Forced again while the deletion is under way, it does nothing.

    Raises NotFound, InvalidState.
    """
    rule = states.SNAPSHOT["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        snapshot = nouns.snapshots.get(conn, id, owner_scope(context))
        volume = nouns.volumes.get(conn, snapshot.volume_id)
        # The deletion of a volume with its snapshots works on them too.
        if force and snapshot.status == "deleting" and (journal.busy(conn, id) or volume.status == "deleting"):
            return
        nouns.snapshots.transition(conn, id, rule.sources, "deleting", action="delete")
        held = locks("snapshot.delete", snapshot=id)
        args = {"snapshot_id": id, "volume_id": volume.id}
        app.operations.admit(
            conn, operation(app, context, "snapshot.delete", volume.full_host, ("snapshot", id), held, args)
        )


def _delete(run: Run) -> None:
    host_of(run).digests.discard(run.args["snapshot_id"])
    backend_of(run).driver.delete_snapshot(snapshot_ref(snapshot_of(run)))


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    nouns.snapshots.delete(conn, operation.resource_id)


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """Busy or cancelled: as it was. Else an error that deleting it again mends."""
    untouched = isinstance(error, errors.DeviceBusy | errors.Cancelled)
    settling.snapshot(conn, operation.resource_id, "deleting", "available" if untouched else "error_deleting")


DELETE_SNAPSHOT = Kind("snapshot.delete", (Step("delete", _delete),), _succeed, _fail)
