"""Delete a volume: its exports first, then its snapshots where they are to go with it, then its object."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.attachments.detach_all import submit_detach_all
from nbdsvc.driver import ManageDriver
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import check_not_grouped, check_not_of_group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_volume_ref, snapshot_ref
from nbdsvc.store import image_cache, repositories, transfers, transitions
from nbdsvc.store import operations as journal


@dataclass(frozen=True)
class DeleteArgs:
    """Arguments of the operation `volume.delete`."""

    volume_id: str
    snapshot_ids: tuple[str, ...] = ()
    """Snapshots that go with it."""
    keep: bool = False
    """Leave the object as it is: of a volume that could not be managed, it is not ours."""
    attachment_ids: tuple[str, ...] = ()
    """Attachments whose exports it removes; they are locked."""


def delete_volume(app: App, context: Context, id: str, *, cascade: bool = False, force: bool = False) -> None:
    """Start deleting a volume.

    cascade: its snapshots too. force: whatever its status is, attached or not; repeated while a deletion goes on, it
    does nothing. Raises NotFound, InvalidState (status, attachments) and InvalidInput (snapshots without cascade).
    """
    rule = states.VOLUME["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        # What is taken of it holds the volume until its commit: so a snapshot is seen here, or refused because of the status.
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        if force and volume.status == "deleting" and journal.busy(conn, id):
            return
        check_not_grouped(volume, "be deleted by itself")
        snapshots = repositories.snapshots.hold(conn, [each.id for each in repositories.snapshots_of(conn, id)])
        if not force:
            _check_detached(conn, volume, rule)
        if snapshots and not cascade:
            raise errors.InvalidInput(
                field="volume", value=id, reason=f"it has {len(snapshots)} snapshots; delete them or use cascade"
            )
        for snapshot in snapshots:
            check_not_of_group(snapshot, "be deleted with its volume")
        repositories.volumes.transition(
            conn, id, rule.sources, "deleting", action="delete", previous_status=volume.status
        )
        for snapshot in snapshots:
            repositories.snapshots.transition(
                conn, snapshot.id, states.SNAPSHOT["delete"].sources, "deleting", action="delete"
            )
        _end_access(app, conn, context, volume)
        args = DeleteArgs(
            id,
            tuple(snapshot.id for snapshot in snapshots),
            keep=volume.status == "error_managing",
            attachment_ids=tuple(found.id for found in repositories.attachments_of(conn, id)),
        )
        app.submit(conn, context, DELETE_VOLUME, args, backend=volume, resource=("volume", id))


def _check_detached(conn: sa.Connection, volume: Volume, rule: states.Transition) -> None:
    for attachment in repositories.attachments_of(conn, volume.id):
        reserved_only = attachment.legacy and attachment.status == "attaching"
        if attachment.status != "detached" and not reserved_only:
            raise errors.InvalidState(
                resource="Volume",
                id=volume.id,
                action="delete",
                status=f"{volume.status} with attachments",
                allowed=rule.allowed(),
            )


def _end_access(app: App, conn: sa.Connection, context: Context, volume: Volume) -> None:
    """Submit the end of access at once: the deletion itself may have to wait for copies that read the volume."""
    exported = [found for found in repositories.attachments_of(conn, volume.id) if found.connector is not None]
    if exported:
        submit_detach_all(app, conn, context, volume, exported, "deleting")


def _locks(args: DeleteArgs) -> list[Lock]:
    ids = {"snapshot": list(args.snapshot_ids), "attachment": list(args.attachment_ids)}
    return locks("volume.delete", volume=args.volume_id, **ids)


def _unexport(run: Run[DeleteArgs]) -> None:
    """Remove the exports, always before the volume."""
    host = host_of(run)
    with host.database.read() as conn:
        attachments = repositories.attachments_of(conn, run.args.volume_id)
    for attachment in attachments:
        host.remove_export(attachment.id)


def _delete_snapshots(run: Run[DeleteArgs]) -> None:
    host = host_of(run)
    with host.database.read() as conn:
        volume = repositories.volumes.get(conn, run.args.volume_id)
        found = repositories.snapshots_of(conn, volume.id)
    for snapshot in found:
        run.raise_if_stopped()
        backend_of(run).snapshots().delete_snapshot(snapshot_ref(snapshot, volume))
        host.digests.discard(snapshot.id)


def _delete(run: Run[DeleteArgs]) -> None:
    backend, volume = backend_of(run), read_volume_ref(run, run.args.volume_id)
    host_of(run).digests.discard(volume.id)
    if not run.args.keep:
        backend.driver.delete_volume(volume)
    elif isinstance(backend.driver, ManageDriver):
        backend.driver.unmanage(volume)


def _succeed(conn: sa.Connection, _operation: Operation, args: DeleteArgs) -> None:
    for attachment in repositories.attachments_of(conn, args.volume_id):
        repositories.attachments.delete(conn, attachment.id)
    for snapshot in repositories.snapshots_of(conn, args.volume_id):
        repositories.snapshots.delete(conn, snapshot.id)
    transfers.remove_of_volume(conn, args.volume_id)
    image_cache.remove(conn, args.volume_id)
    repositories.volumes.delete(conn, args.volume_id)


def _fail(conn: sa.Connection, operation: Operation, args: DeleteArgs, error: errors.Error) -> None:
    """Restore the status where nothing was removed (busy, or cancelled in time); else an error that a second delete ends."""
    untouched = isinstance(error, errors.DeviceBusy) or (isinstance(error, errors.Cancelled) and operation.cursor < 1)
    target = states.PREVIOUS if untouched else "error_deleting"
    repositories.snapshots.hold_left(conn, args.snapshot_ids)
    transitions.finish_volume(conn, args.volume_id, "deleting", target)
    for id in args.snapshot_ids:
        transitions.finish_snapshot(conn, id, "deleting", "available" if untouched else "error_deleting")


DELETE_VOLUME = OperationType(
    "volume.delete",
    DeleteArgs,
    (Step("unexport", _unexport), Step("delete snapshots", _delete_snapshots), Step("delete", _delete)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    removes=True,
)
