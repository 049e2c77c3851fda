"""Unmanages a volume: deletes its row; its object stays in the pool."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import check_not_grouped
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_volume_ref
from nbdsvc.store import repositories, transfers, transitions


@dataclass(frozen=True)
class UnmanageVolumeArgs:
    """Arguments of the operation `volume.unmanage`."""

    volume_id: str
    pool: str = ""
    """host@backend#pool; empty in operations of an older version."""


def unmanage_volume(app: App, context: Context, id: str) -> None:
    """Start removing a volume's row.

    Raises NotFound, InvalidState where the volume is in use or not at rest, InvalidInput where it has snapshots, Unsupported
    where the driver manages no volumes.
    """
    rule = states.VOLUME["unmanage"]
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        placement.require(conn, volume.full_host, "ManageDriver")
        _check_unused(conn, volume)
        repositories.volumes.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        args = UnmanageVolumeArgs(id, volume.full_host)
        app.submit(conn, context, UNMANAGE_VOLUME, args, backend=volume, resource=("volume", id))


def _check_unused(conn: sa.Connection, volume: Volume) -> None:
    check_not_grouped(volume, "be unmanaged")
    if any(attachment.status != "detached" for attachment in repositories.attachments_of(conn, volume.id)):
        status, allowed = f"{volume.status} with attachments", states.VOLUME["unmanage"].allowed()
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be unmanaged", status=status, allowed=allowed
        )
    if snapshots := repositories.snapshots_of(conn, volume.id):
        reason = f"it has {len(snapshots)} snapshots; unmanage or delete them first"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)


def _locks(args: UnmanageVolumeArgs) -> list[Lock]:
    return locks("volume.unmanage", volume=args.volume_id, pool=args.pool)


def _unmanage(run: Run[UnmanageVolumeArgs]) -> None:
    host_of(run).digests.discard(run.args.volume_id)
    backend_of(run).manages().unmanage(read_volume_ref(run, run.args.volume_id))


def _succeed(conn: sa.Connection, _operation: Operation, args: UnmanageVolumeArgs) -> None:
    for attachment in repositories.attachments_of(conn, args.volume_id):
        repositories.attachments.delete(conn, attachment.id)
    transfers.remove_of_volume(conn, args.volume_id)
    repositories.volumes.delete(conn, args.volume_id)


def _fail(conn: sa.Connection, _operation: Operation, args: UnmanageVolumeArgs, error: errors.Error) -> None:
    transitions.finish_volume(conn, args.volume_id, "unmanaging", "error")


UNMANAGE_VOLUME = OperationType(
    "volume.unmanage",
    UnmanageVolumeArgs,
    (Step("let go", _unmanage),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
