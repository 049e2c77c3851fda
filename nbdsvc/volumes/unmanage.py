"""Unmanage a volume: its row goes, its object stays in the pool (rows S097-S100)."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import volume_of, volume_ref
from nbdsvc.store import nouns


def unmanage_volume(app: App, context: Context, id: str) -> None:
    """Start removing a volume's row.

    Raises NotFound, InvalidState where the volume is in use or not at rest, InvalidInput where it has snapshots.
    """
    rule = states.VOLUME["unmanage"]
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        _check_unused(conn, volume)
        nouns.volumes.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        held = locks("volume.unmanage", volume=id, pool=volume.full_host)
        args = {"volume_id": id}
        app.operations.admit(
            conn, operation(app, context, "volume.unmanage", volume.full_host, ("volume", id), held, args)
        )


def _check_unused(conn: sa.Connection, volume: Volume) -> None:
    if any(attachment.status != "detached" for attachment in nouns.attachments_of(conn, volume.id)):
        status, allowed = f"{volume.status} with attachments", states.VOLUME["unmanage"].allowed()
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be unmanaged", status=status, allowed=allowed
        )
    if snapshots := nouns.snapshots_of(conn, volume.id):
        reason = f"it has {len(snapshots)} snapshots; unmanage or delete them first"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)


def _unmanage(run: Run) -> None:
    host_of(run).digests.discard(run.args["volume_id"])
    backend_of(run).driver.unmanage(volume_ref(volume_of(run)))


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    for attachment in nouns.attachments_of(conn, operation.resource_id):
        nouns.attachments.delete(conn, attachment.id)
    nouns.volumes.delete(conn, operation.resource_id)


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.volume(conn, operation.resource_id, "unmanaging", "error")


UNMANAGE_VOLUME = Kind("volume.unmanage", (Step("let go", _unmanage),), _succeed, _fail)
