"""Revert a volume to its newest snapshot, in place (microversion 3.40)."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_snapshot_ref, read_volume_ref
from nbdsvc.store import repositories, transitions


@dataclass(frozen=True)
class RevertVolumeArgs:
    """Arguments of the operation `volume.revert`."""

    volume_id: str
    snapshot_id: str


def revert_volume(app: App, context: Context, volume_id: str, snapshot_id: str) -> None:
    """Start reverting a volume to a snapshot.

    Raises NotFound, Unsupported where the backend has no snapshots, Conflict where the status of the volume does not allow
    it, InvalidState where that of the snapshot does not, InvalidInput where it is not the volume's newest snapshot or had
    another size.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, volume_id, owner_scope(context))
        placement.require(conn, volume.full_host, "SnapshotDriver")
        _check(conn, volume, repositories.snapshots.get(conn, snapshot_id, owner_scope(context)))
        repositories.volumes.transition(
            conn, volume_id, states.VOLUME["revert"].sources, "reverting", action="be reverted"
        )
        rule = states.SNAPSHOT["revert to"]
        repositories.snapshots.transition(conn, snapshot_id, rule.sources, "restoring", action="be reverted to")
        args = RevertVolumeArgs(volume_id, snapshot_id)
        app.submit(conn, context, REVERT_VOLUME, args, backend=volume, resource=("volume", volume_id))


def _check(conn: sa.Connection, volume: Volume, snapshot: Snapshot) -> None:
    if volume.status not in states.VOLUME["revert"].sources:
        raise errors.Conflict(reason=f"volume {volume.id} is {volume.status}, so it cannot be reverted now")
    newest = repositories.snapshots_of(conn, volume.id)[-1:]
    if reason := reject_reason(volume, snapshot, newest):
        raise errors.InvalidInput(field="snapshot_id", value=snapshot.id, reason=reason)


def reject_reason(volume: Volume, snapshot: Snapshot, newest: list[Snapshot]) -> str | None:
    """The reason why the volume cannot be reverted to the snapshot; None where it can. newest: at most one snapshot."""
    if snapshot.volume_id != volume.id:
        return f"it is not a snapshot of volume {volume.id}"
    if [each.id for each in newest] != [snapshot.id]:
        return "it is not the newest snapshot of its volume"
    if snapshot.volume_size != volume.size:
        return f"the volume has {volume.size} GiB now, and had {snapshot.volume_size} GiB when it was taken"
    return None


def _locks(args: RevertVolumeArgs) -> list[Lock]:
    return locks("volume.revert", volume=args.volume_id, snapshot=args.snapshot_id)


def _copies(run: Run[RevertVolumeArgs]) -> bool:
    return not backend_of(run).able.instant_revert


def _revert(run: Run[RevertVolumeArgs]) -> None:
    """Revert at once where blocks are shared; else copy the blocks that differ.

    A copy of everything would overflow a snapshot that has room for its volume's changes only, and so lose it.
    """
    backend, digests = backend_of(run), host_of(run).digests
    volume, snapshot = read_volume_ref(run, run.args.volume_id), read_snapshot_ref(run, run.args.snapshot_id)
    digests.discard(volume.id)
    if backend.able.instant_revert:
        backend.reverts().revert_to_snapshot(volume, snapshot, run.id)
    else:
        source = backend.snapshots().snapshot_location(snapshot)
        journaled_copy.write_differences(run, source, backend.driver.location(volume), volume.size)
    digests.copy(snapshot.id, volume.id)


def _succeed(conn: sa.Connection, _operation: Operation, args: RevertVolumeArgs) -> None:
    transitions.finish_volume(conn, args.volume_id, "reverting", "available")
    transitions.finish_snapshot(conn, args.snapshot_id, "restoring", "available")


def _fail(conn: sa.Connection, _operation: Operation, args: RevertVolumeArgs, error: errors.Error) -> None:
    """Set the status to error: bytes may be mixed. The snapshot is complete, so another revert repairs the volume."""
    transitions.finish_volume(conn, args.volume_id, "reverting", "error")
    transitions.finish_snapshot(conn, args.snapshot_id, "restoring", "available")


REVERT_VOLUME = OperationType(
    "volume.revert",
    RevertVolumeArgs,
    (Step("revert", _revert, copies=_copies),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
