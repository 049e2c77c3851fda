"""Manages an existing object of a pool: it becomes a snapshot of a volume."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_snapshot, read_snapshot_ref
from nbdsvc.snapshots.new_row import new_row
from nbdsvc.store import quotas, repositories, transitions
from nbdsvc.units import to_gib


@dataclass(frozen=True)
class ManageSnapshotRequest:
    """A request to manage an object: its reference, and the attributes of the snapshot."""

    volume_id: str
    ref: dict[str, str]
    """What the driver knows the object by: source-name or source-id."""
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ManageSnapshotArgs:
    """Arguments of the operation `snapshot.manage`."""

    snapshot_id: str
    volume_id: str
    ref: dict[str, str]
    quotas: dict[str, int]
    """The limits of a project that has none of its own."""
    pool: str = ""
    """host@backend#pool; empty in operations of an older version."""


def manage_snapshot(app: App, context: Context, request: ManageSnapshotRequest) -> Snapshot:
    """Start managing an object as a snapshot of a volume; it has 0 GiB until the backend has looked.

    Raises NotFound, InvalidState for the status of the volume, Unsupported where the driver manages no snapshots,
    QuotaExceeded. What is wrong with the object is the error of the operation.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, request.volume_id, owner_scope(context))
        placement.require(conn, volume.full_host, "ManageSnapshotDriver")
        _check_status(volume)
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"snapshots": 1})
        volume = repositories.volumes.get_for_share(conn, volume.id, owner_scope(context))
        _check_status(volume)
        snapshot = repositories.snapshots.insert(conn, _row(context, request, volume))
        args = ManageSnapshotArgs(snapshot.id, volume.id, request.ref, app.settings.quotas, volume.full_host)
        app.submit(conn, context, MANAGE_SNAPSHOT, args, backend=volume, resource=("snapshot", snapshot.id))
    return snapshot


def _check_status(volume: Volume) -> None:
    allowed = states.SNAPSHOT_SOURCE_FORCED
    if volume.status not in allowed:
        action = "be given a snapshot"
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action=action, status=volume.status, allowed=sorted(allowed)
        )


def _row(context: Context, request: ManageSnapshotRequest, volume: Volume) -> Snapshot:
    given = {"name": request.name, "description": request.description, "metadata": request.metadata}
    return new_row(context, volume, volume_size=0, **given)


def _locks(args: ManageSnapshotArgs) -> list[Lock]:
    return locks("snapshot.manage", snapshot=args.snapshot_id, volume=args.volume_id, pool=args.pool)


def _measure(run: Run[ManageSnapshotArgs]) -> dict[str, int]:
    """Give the row the size of the object (GiB), as far as the project's quota allows it."""
    host, snapshot = host_of(run), read_snapshot(run, run.args.snapshot_id)
    wanted = read_snapshot_ref(run, snapshot.id)
    size = to_gib(backend_of(run).manages_snapshots().manage_existing_snapshot_get_size(wanted, run.args.ref))
    more = {"gigabytes": size - snapshot.volume_size}
    with host.database.write() as conn:
        quotas.check(host.database, conn, snapshot.project_id, run.args.quotas, more)
        repositories.snapshots.update(conn, snapshot.id, volume_size=size)
    return {"size": size}


def _manage(run: Run[ManageSnapshotArgs]) -> None:
    snapshot = read_snapshot_ref(run, run.args.snapshot_id)
    state = backend_of(run).manages_snapshots().manage_existing_snapshot(snapshot, run.args.ref, run.id)
    keep_state(run, repositories.snapshots, snapshot.id, state)


def _unmanage(run: Run[ManageSnapshotArgs]) -> None:
    backend_of(run).manages_snapshots().unmanage_snapshot(
        read_snapshot_ref(run, run.args.snapshot_id), run.id, run.args.ref
    )


def _succeed(conn: sa.Connection, _operation: Operation, args: ManageSnapshotArgs) -> None:
    transitions.finish_snapshot(conn, args.snapshot_id, "creating", "available", progress="100%")


def _fail(conn: sa.Connection, _operation: Operation, args: ManageSnapshotArgs, error: errors.Error) -> None:
    """The row has no object: it takes no gigabytes, and deleting it deletes nothing."""
    transitions.finish_snapshot(conn, args.snapshot_id, "creating", "error", volume_size=0)


MANAGE_SNAPSHOT = OperationType(
    "snapshot.manage",
    ManageSnapshotArgs,
    (Step("measure", _measure), Step("adopt", _manage, _unmanage)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
