"""Snapshots: a point in time of a volume, taken and removed."""

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath import source as datapath
from nbdsvc.manager import placement, proving, settling
from nbdsvc.manager.app import App, host_of, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import snapshot_of, snapshot_ref, volume_of, volume_ref
from nbdsvc.store import nouns, quotas
from nbdsvc.store import operations as journal


def create(
    app: App,
    context: Context,
    volume_id: str,
    name: str | None,
    description: str | None,
    metadata: dict[str, str],
    *,
    force: bool,
) -> Snapshot:
    """Admit a snapshot; `force`: also of a volume in use."""
    allowed = states.SNAPSHOT_SOURCE_FORCED if force else states.SNAPSHOT_SOURCE
    with app.change() as conn:
        volume = nouns.volumes.get(conn, volume_id, owner_scope(context))
        if volume.status not in allowed:
            raise errors.InvalidState(
                resource="Volume", id=volume_id, action="be snapshotted", status=volume.status, allowed=sorted(allowed)
            )
        if volume.status == "in-use" and not placement.instant_snapshot(conn, volume.host):
            raise errors.Unsupported(reason="this backend cannot take a snapshot of a volume while it is in use")
        wanted = {"snapshots": 1, "gigabytes": volume.size}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        snapshot = Snapshot(
            id=names.new_id(),
            project_id=context.project_id,
            user_id=context.user_id,
            volume_id=volume_id,
            volume_size=volume.size,
            status="creating",
            name=name,
            description=description,
            metadata=metadata,
        )
        nouns.snapshots.insert(conn, snapshot)
        held = locks("snapshot.create", snapshot=snapshot.id, volume=volume_id)
        args = {"snapshot_id": snapshot.id, "volume_id": volume_id}
        resource = ("snapshot", snapshot.id)
        app.operations.admit(conn, operation(app, context, "snapshot.create", volume.host, resource, held, args))
    return snapshot


def delete(app: App, context: Context, id: str, *, force: bool = False) -> None:
    """Admit the end of a snapshot. By force again while it goes on: nothing more."""
    rule = states.SNAPSHOT["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        snapshot = nouns.snapshots.get(conn, id, owner_scope(context))
        volume = nouns.volumes.get(conn, snapshot.volume_id)
        # A volume that is deleted with its snapshots works on them too.
        if force and snapshot.status == "deleting" and (journal.busy(conn, id) or volume.status == "deleting"):
            return
        nouns.snapshots.transition(conn, id, rule.sources, "deleting", action="delete")
        held = locks("snapshot.delete", snapshot=id)
        args = {"snapshot_id": id, "volume_id": volume.id}
        app.operations.admit(
            conn, operation(app, context, "snapshot.delete", volume.host, ("snapshot", id), held, args)
        )


def update(app: App, context: Context, id: str, **changes: object) -> Snapshot:
    with app.change() as conn:
        nouns.snapshots.get(conn, id, owner_scope(context))
        nouns.snapshots.update(conn, id, **changes)
        return nouns.snapshots.get(conn, id)


def reset_status(app: App, id: str, status: str) -> None:
    """An administrator's os-reset_status. Conflict while an operation works on the snapshot."""
    with app.change() as conn:
        if journal.busy(conn, id):
            raise errors.Conflict(reason=f"an operation on snapshot {id} is under way; cancel it instead")
        if not nouns.snapshots.force_status(conn, id, status):
            raise errors.NotFound(resource="Snapshot", id=id)


def _take(run: Run) -> dict[str, bool]:
    driver = host_of(run).driver
    driver.create_snapshot(snapshot_ref(snapshot_of(run)), run.id)
    if driver.capabilities.point_in_time:
        proving.pass_on(host_of(run), run.args["volume_id"], run.args["snapshot_id"])
    return {"filled": driver.capabilities.point_in_time}


def _release(run: Run) -> None:
    proving.forget(host_of(run), run.args["snapshot_id"])
    host_of(run).driver.delete_snapshot(snapshot_ref(snapshot_of(run)))
    journaled_copy.remove_journal(run)


def _is_to_be_filled(run: Run) -> bool:
    return not run.results["take"]["filled"]


def _fill(run: Run) -> dict[str, int] | None:
    """Where the backend does not share blocks: a copy, from a volume that our lock keeps from being attached."""
    if run.results["take"]["filled"]:
        return None
    host, snapshot = host_of(run), snapshot_ref(snapshot_of(run))
    with datapath.open_path(host.driver.local_path(volume_ref(volume_of(run)))) as source:
        journaled_copy.check_room(run, source)
        path = host.driver.snapshot_path(snapshot)
        result = journaled_copy.fill(run, source, path, snapshot.size, snapshot.id.encode()[:32], empty=True)
    proving.pass_on(host, run.args["volume_id"], snapshot.id)
    return result


def _taken(conn: sa.Connection, operation: Operation) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "available", progress="100%")


def _not_taken(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "error")


def _delete(run: Run) -> None:
    proving.forget(host_of(run), run.args["snapshot_id"])
    host_of(run).driver.delete_snapshot(snapshot_ref(snapshot_of(run)))


def _deleted(conn: sa.Connection, operation: Operation) -> None:
    nouns.snapshots.delete(conn, operation.resource_id)


def _not_deleted(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    busy = isinstance(error, errors.DeviceBusy | errors.Cancelled)
    settling.snapshot(conn, operation.resource_id, "deleting", "available" if busy else "error_deleting")


KINDS = (
    Kind(
        "snapshot.create",
        (
            Step("take", _take, _release),
            Step("fill", _fill, copies=_is_to_be_filled),
            Step("tidy", journaled_copy.remove_journal),
        ),
        _taken,
        _not_taken,
    ),
    Kind("snapshot.delete", (Step("delete", _delete),), _deleted, _not_deleted),
)
