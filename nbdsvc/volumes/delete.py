"""Delete a volume: its exports first, then its snapshots where they are to go with it, then its object."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.attachments.detach_all import submit_detach_all
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import read_volume_ref, snapshot_ref
from nbdsvc.store import nouns
from nbdsvc.store import operations as journal


def delete_volume(app: App, context: Context, id: str, *, cascade: bool = False, force: bool = False) -> None:
    """Start deleting a volume.

    cascade: its snapshots too. force: whatever its status is, attached or not; repeated while a deletion goes on, it
    does nothing. Raises NotFound, InvalidState (status, attachments) and InvalidInput (snapshots without cascade).
    """
    rule = states.VOLUME["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if force and volume.status == "deleting" and journal.busy(conn, id):
            return
        snapshots = nouns.snapshots_of(conn, id)
        if not force:
            _check_detached(conn, volume, rule)
        if snapshots and not cascade:
            raise errors.InvalidInput(
                field="volume", value=id, reason=f"it has {len(snapshots)} snapshots; delete them or use cascade"
            )
        nouns.volumes.transition(conn, id, rule.sources, "deleting", action="delete", previous_status=volume.status)
        for snapshot in snapshots:
            nouns.snapshots.transition(
                conn, snapshot.id, states.SNAPSHOT["delete"].sources, "deleting", action="delete"
            )
        _end_access(app, conn, context, volume)
        app.operations.admit(conn, _operation(app, conn, context, volume, snapshots))


def _check_detached(conn: sa.Connection, volume: Volume, rule: states.Transition) -> None:
    for attachment in nouns.attachments_of(conn, volume.id):
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
    """At once: the deletion itself may have to wait for copies that read the volume."""
    exported = [found for found in nouns.attachments_of(conn, volume.id) if found.connector is not None]
    if exported:
        submit_detach_all(app, conn, context, volume, exported, "deleting")


def _operation(app: App, conn: sa.Connection, context: Context, volume: Volume, snapshots: list[Snapshot]) -> Operation:
    snapshot_ids = [snapshot.id for snapshot in snapshots]
    attachment_ids = [found.id for found in nouns.attachments_of(conn, volume.id)]
    held = locks("volume.delete", volume=volume.id, snapshot=snapshot_ids, attachment=attachment_ids)
    # A volume that could not be managed has no object of its own: what its reference named stays as it is.
    keep = volume.status == "error_managing"
    args = {"volume_id": volume.id, "snapshot_ids": snapshot_ids, "keep": keep}
    return operation(app, context, "volume.delete", volume.host, ("volume", volume.id), held, args)


def _unexport(run: Run) -> None:
    """The exports always come first (row S024)."""
    host = host_of(run)
    with host.database.read() as conn:
        attachments = nouns.attachments_of(conn, run.args["volume_id"])
    for attachment in attachments:
        host.remove_export(attachment.id)


def _delete_snapshots(run: Run) -> None:
    host = host_of(run)
    with host.database.read() as conn:
        found = nouns.snapshots_of(conn, run.args["volume_id"])
    for snapshot in found:
        run.check()
        backend_of(run).driver.delete_snapshot(snapshot_ref(snapshot))
        host.digests.discard(snapshot.id)


def _delete(run: Run) -> None:
    driver, volume = backend_of(run).driver, read_volume_ref(run, run.args["volume_id"])
    host_of(run).digests.discard(volume.id)
    if run.args.get("keep"):
        driver.unmanage(volume)
    else:
        driver.delete_volume(volume)


def _remove_rows(conn: sa.Connection, operation: Operation) -> None:
    for attachment in nouns.attachments_of(conn, operation.resource_id):
        nouns.attachments.delete(conn, attachment.id)
    for snapshot in nouns.snapshots_of(conn, operation.resource_id):
        nouns.snapshots.delete(conn, snapshot.id)
    nouns.volumes.delete(conn, operation.resource_id)


def _restore_or_error(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """As before where nothing was removed (busy, or cancelled in time); else an error that a repeated delete mends."""
    untouched = isinstance(error, errors.DeviceBusy) or (isinstance(error, errors.Cancelled) and operation.cursor < 1)
    target = states.PREVIOUS if untouched else "error_deleting"
    settling.volume(conn, operation.resource_id, "deleting", target)
    for id in operation.args["snapshot_ids"]:
        settling.snapshot(conn, id, "deleting", "available" if untouched else "error_deleting")


DELETE_VOLUME = Kind(
    "volume.delete",
    (Step("unexport", _unexport), Step("delete snapshots", _delete_snapshots), Step("delete", _delete)),
    _remove_rows,
    _restore_or_error,
)
