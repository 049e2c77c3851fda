"""Unmanages a snapshot: deletes its row; its object stays in the pool."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.groups import check_not_of_group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_snapshot_ref
from nbdsvc.store import repositories, transitions


@dataclass(frozen=True)
class UnmanageSnapshotArgs:
    """Arguments of the operation `snapshot.unmanage`."""

    snapshot_id: str
    volume_id: str
    pool: str = ""
    """host@backend#pool; empty in operations of an older version."""


def unmanage_snapshot(app: App, context: Context, id: str) -> None:
    """Start removing a snapshot's row. Raises NotFound, Unsupported, and InvalidState where it is not at rest."""
    with app.change() as conn:
        snapshot = repositories.snapshots.get(conn, id, owner_scope(context))
        check_not_of_group(snapshot, "be unmanaged")
        volume = repositories.volumes.get(conn, snapshot.volume_id)
        placement.require(conn, volume.full_host, "ManageSnapshotDriver")
        rule = states.SNAPSHOT["unmanage"]
        repositories.snapshots.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        args = UnmanageSnapshotArgs(id, volume.id, volume.full_host)
        app.submit(conn, context, UNMANAGE_SNAPSHOT, args, backend=volume, resource=("snapshot", id))


def _locks(args: UnmanageSnapshotArgs) -> list[Lock]:
    return locks("snapshot.unmanage", snapshot=args.snapshot_id, pool=args.pool)


def _unmanage(run: Run[UnmanageSnapshotArgs]) -> None:
    host_of(run).digests.discard(run.args.snapshot_id)
    backend_of(run).manages_snapshots().unmanage_snapshot(read_snapshot_ref(run, run.args.snapshot_id))


def _succeed(conn: sa.Connection, _operation: Operation, args: UnmanageSnapshotArgs) -> None:
    repositories.snapshots.delete(conn, args.snapshot_id)


def _fail(conn: sa.Connection, _operation: Operation, args: UnmanageSnapshotArgs, error: errors.Error) -> None:
    transitions.finish_snapshot(conn, args.snapshot_id, "unmanaging", "error")


UNMANAGE_SNAPSHOT = OperationType(
    "snapshot.unmanage",
    UnmanageSnapshotArgs,
    (Step("let go", _unmanage),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
