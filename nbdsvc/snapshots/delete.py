"""Delete a snapshot."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.groups import check_not_of_group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_snapshot_ref
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories, transitions


@dataclass(frozen=True)
class DeleteSnapshotArgs:
    """Arguments of the operation `snapshot.delete`."""

    snapshot_id: str
    volume_id: str


def delete_snapshot(app: App, context: Context, id: str, *, force: bool = False) -> None:
    """Start deleting a snapshot; `force`: from any status. Forced again while the deletion is under way, it does nothing.

    Raises NotFound, InvalidState.
    """
    rule = states.SNAPSHOT["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        snapshot = repositories.snapshots.get_for_update(conn, id, owner_scope(context))
        if not force:
            check_not_of_group(snapshot, "be deleted by itself")
        volume = repositories.volumes.get(conn, snapshot.volume_id)
        # The deletion of a volume with its snapshots works on them too.
        if force and snapshot.status == "deleting" and (journal.busy(conn, id) or volume.status == "deleting"):
            return
        repositories.snapshots.transition(conn, id, rule.sources, "deleting", action="delete")
        args = DeleteSnapshotArgs(id, volume.id)
        app.submit(conn, context, DELETE_SNAPSHOT, args, backend=volume, resource=("snapshot", id))


def _locks(args: DeleteSnapshotArgs) -> list[Lock]:
    return locks("snapshot.delete", snapshot=args.snapshot_id)


def _delete(run: Run[DeleteSnapshotArgs]) -> None:
    host_of(run).digests.discard(run.args.snapshot_id)
    backend_of(run).snapshots().delete_snapshot(read_snapshot_ref(run, run.args.snapshot_id))


def _succeed(conn: sa.Connection, _operation: Operation, args: DeleteSnapshotArgs) -> None:
    repositories.snapshots.delete(conn, args.snapshot_id)


def _fail(conn: sa.Connection, _operation: Operation, args: DeleteSnapshotArgs, error: errors.Error) -> None:
    """Busy or cancelled: as it was. Else `error_deleting`, which another delete leaves."""
    untouched = isinstance(error, errors.DeviceBusy | errors.Cancelled)
    transitions.finish_snapshot(conn, args.snapshot_id, "deleting", "available" if untouched else "error_deleting")


DELETE_SNAPSHOT = OperationType(
    "snapshot.delete",
    DeleteSnapshotArgs,
    (Step("delete", _delete),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    removes=True,
)
