"""Take a snapshot of a volume."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.datapath import source as sources
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_snapshot_ref, read_volume_ref
from nbdsvc.snapshots.new_row import new_row
from nbdsvc.store import quotas, repositories, transitions


@dataclass(frozen=True)
class CreateSnapshotRequest:
    """A request for a snapshot: its volume, name and description."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    force: bool = False
    """Also of a volume that is in use."""


@dataclass(frozen=True)
class CreateSnapshotArgs:
    """Arguments of the operation `snapshot.create`."""

    snapshot_id: str
    volume_id: str


def create_snapshot(app: App, context: Context, request: CreateSnapshotRequest) -> Snapshot:
    """Start taking a snapshot.

    Raises NotFound, InvalidState for the status of the volume, Unsupported where the backend takes no snapshots, or
    none of a volume in use, QuotaExceeded.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, request.volume_id, owner_scope(context))
        placement.require(conn, volume.full_host, "SnapshotDriver")
        wanted = {"snapshots": 1, "gigabytes": volume.size}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        # On PostgreSQL it may have changed since it was read. Not before: what extends it waits for the quotas first, too.
        volume = repositories.volumes.get_for_share(conn, volume.id, owner_scope(context))
        _check_source(conn, volume, force=request.force)
        given = {"name": request.name, "description": request.description, "metadata": request.metadata}
        snapshot = repositories.snapshots.insert(conn, new_row(context, volume, **given))
        args = CreateSnapshotArgs(snapshot.id, volume.id)
        app.submit(conn, context, CREATE_SNAPSHOT, args, backend=volume, resource=("snapshot", snapshot.id))
    return snapshot


def _check_source(conn: sa.Connection, volume: Volume, *, force: bool) -> None:
    allowed = states.SNAPSHOT_SOURCE_FORCED if force else states.SNAPSHOT_SOURCE
    if volume.status not in allowed:
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be snapshotted", status=volume.status, allowed=sorted(allowed)
        )
    if volume.status == "in-use":
        placement.require_instant_snapshot(conn, volume.full_host)


def _locks(args: CreateSnapshotArgs) -> list[Lock]:
    return locks("snapshot.create", snapshot=args.snapshot_id, volume=args.volume_id)


def _take(run: Run[CreateSnapshotArgs]) -> dict[str, bool]:
    host = host_of(run)
    snapshot = read_snapshot_ref(run, run.args.snapshot_id)
    keep_state(run, repositories.snapshots, snapshot.id, backend_of(run).snapshots().create_snapshot(snapshot, run.id))
    if backend_of(run).able.instant_snapshot:
        host.digests.copy(run.args.volume_id, run.args.snapshot_id)
    return {"filled": backend_of(run).able.instant_snapshot}


def _remove(run: Run[CreateSnapshotArgs]) -> None:
    host_of(run).digests.discard(run.args.snapshot_id)
    backend_of(run).snapshots().delete_snapshot(read_snapshot_ref(run, run.args.snapshot_id))
    journaled_copy.remove_journal(run)


def _is_to_be_filled(run: Run[CreateSnapshotArgs]) -> bool:
    return not run.results["take"]["filled"]


def _fill(run: Run[CreateSnapshotArgs]) -> dict[str, int] | None:
    """Copy the volume where the backend does not share blocks. Our lock keeps the volume from being attached."""
    if run.results["take"]["filled"]:
        return None
    host, snapshot = host_of(run), read_snapshot_ref(run, run.args.snapshot_id)
    with sources.open(backend_of(run).driver.location(read_volume_ref(run, run.args.volume_id))) as source:
        journaled_copy.check_room(run, snapshot.pool, source)
        target = backend_of(run).snapshots().snapshot_location(snapshot)
        result = journaled_copy.fill(run, source, target, snapshot.size, snapshot.id.encode()[:32], empty=True)
    host.digests.copy(run.args.volume_id, snapshot.id)
    return result


def _succeed(conn: sa.Connection, _operation: Operation, args: CreateSnapshotArgs) -> None:
    transitions.finish_snapshot(conn, args.snapshot_id, "creating", "available", progress="100%")


def _fail(conn: sa.Connection, _operation: Operation, args: CreateSnapshotArgs, error: errors.Error) -> None:
    transitions.finish_snapshot(conn, args.snapshot_id, "creating", "error")


CREATE_SNAPSHOT = OperationType(
    "snapshot.create",
    CreateSnapshotArgs,
    (
        Step("take", _take, _remove),
        Step("fill", _fill, copies=_is_to_be_filled, needed=_is_to_be_filled),
        Step("tidy", journaled_copy.remove_journal, needed=_is_to_be_filled),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
