"""Take a snapshot of a volume."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.backends import placement
from nbdsvc.datapath import source as sources
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import snapshot_of, snapshot_ref, volume_of, volume_ref
from nbdsvc.store import nouns, quotas


@dataclass(frozen=True)
class CreateSnapshotRequest:
    """Which volume a client wants a snapshot of, and what the snapshot is called."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    force: bool = False
    """Also of a volume that is in use."""


def create_snapshot(app: App, context: Context, request: CreateSnapshotRequest) -> Snapshot:
    """Start taking a snapshot.

    Raises NotFound, InvalidState for the status of the volume, Unsupported where the backend takes no snapshot of a volume
    in use, QuotaExceeded.
    """
    with app.change() as conn:
        volume = nouns.volumes.get(conn, request.volume_id, owner_scope(context))
        _check_source(conn, volume, force=request.force)
        wanted = {"snapshots": 1, "gigabytes": volume.size}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        snapshot = nouns.snapshots.insert(conn, _row(context, request, volume))
        held = locks("snapshot.create", snapshot=snapshot.id, volume=volume.id)
        args = {"snapshot_id": snapshot.id, "volume_id": volume.id}
        resource = ("snapshot", snapshot.id)
        app.operations.admit(conn, operation(app, context, "snapshot.create", volume.full_host, resource, held, args))
    return snapshot


def _check_source(conn: sa.Connection, volume: Volume, *, force: bool) -> None:
    allowed = states.SNAPSHOT_SOURCE_FORCED if force else states.SNAPSHOT_SOURCE
    if volume.status not in allowed:
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be snapshotted", status=volume.status, allowed=sorted(allowed)
        )
    if volume.status == "in-use" and not placement.instant_snapshot(conn, volume.full_host):
        raise errors.Unsupported(reason="this backend cannot take a snapshot of a volume while it is in use")


def _row(context: Context, request: CreateSnapshotRequest, volume: Volume) -> Snapshot:
    return Snapshot(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        volume_id=volume.id,
        volume_size=volume.size,
        status="creating",
        name=request.name,
        description=request.description,
        metadata=request.metadata,
    )


def _take(run: Run) -> dict[str, bool]:
    host = host_of(run)
    backend_of(run).driver.create_snapshot(snapshot_ref(snapshot_of(run)), run.id)
    if backend_of(run).driver.capabilities.point_in_time:
        host.digests.copy(run.args["volume_id"], run.args["snapshot_id"])
    return {"filled": backend_of(run).driver.capabilities.point_in_time}


def _remove(run: Run) -> None:
    host_of(run).digests.discard(run.args["snapshot_id"])
    backend_of(run).driver.delete_snapshot(snapshot_ref(snapshot_of(run)))
    journaled_copy.remove_journal(run)


def _is_to_be_filled(run: Run) -> bool:
    return not run.results["take"]["filled"]


def _fill(run: Run) -> dict[str, int] | None:
    """Where the backend does not share blocks: a copy, from a volume that our lock keeps from being attached."""
    if run.results["take"]["filled"]:
        return None
    host, snapshot = host_of(run), snapshot_ref(snapshot_of(run))
    with sources.open_path(backend_of(run).driver.local_path(volume_ref(volume_of(run)))) as source:
        journaled_copy.check_room(run, source)
        path = backend_of(run).driver.snapshot_path(snapshot)
        result = journaled_copy.fill(run, source, path, snapshot.size, snapshot.id.encode()[:32], empty=True)
    host.digests.copy(run.args["volume_id"], snapshot.id)
    return result


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "available", progress="100%")


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "error")


CREATE_SNAPSHOT = Kind(
    "snapshot.create",
    (
        Step("take", _take, _remove),
        Step("fill", _fill, copies=_is_to_be_filled),
        Step("tidy", journaled_copy.remove_journal),
    ),
    _succeed,
    _fail,
)
