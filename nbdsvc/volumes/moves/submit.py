"""Whether a volume can be moved, and the submission of its move."""

from dataclasses import replace
from typing import TypeVar

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Move, Volume
from nbdsvc.model.groups import check_not_grouped
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.store import backends, clusters, moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.kinds import Kinds

A = TypeVar("A")

_NOT_REPLICATED = (None, "disabled", "not-capable")


def check_movable(
    conn: sa.Connection, volume: Volume, verb: str, action: str, *, snapshots_follow: bool = False
) -> None:
    """InvalidState where its status does not allow it, Unsupported while it is in use, InvalidInput where it has snapshots
    or a replica, Conflict where it is being moved, or its last source still has to be removed, Frozen where its backend is.
    verb: of states.VOLUME. snapshots_follow: it may have snapshots, because only its row is to go.
    """
    backends.check_not_frozen(conn, volume.full_host)
    if volume.status == "in-use":
        raise errors.Unsupported(
            reason=f"volume {volume.id} is in use, and only a volume that is not in use can {action}"
        )
    attached = [each for each in repositories.attachments_of(conn, volume.id) if each.status != "detached"]
    if volume.status not in states.VOLUME[verb].sources or attached:
        status = f"{volume.status} with attachments" if attached else volume.status
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action=action, status=status, allowed=states.VOLUME[verb].allowed()
        )
    check_nothing_stays(conn, volume, action, snapshots_follow=snapshots_follow)


def check_no_snapshots(conn: sa.Connection, volume: Volume) -> None:
    """InvalidInput where it has some."""
    if snapshots := repositories.snapshots_of(conn, volume.id):
        reason = f"it has {len(snapshots)} snapshots, which would stay behind; delete them first"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)


def check_nothing_stays(conn: sa.Connection, volume: Volume, action: str, *, snapshots_follow: bool = False) -> None:
    """InvalidInput where it has snapshots or a replica, Conflict where it is being moved, or its source is left."""
    check_not_grouped(volume, action)
    if not snapshots_follow:
        check_no_snapshots(conn, volume)
    if volume.replication_status not in _NOT_REPLICATED:
        reason = f"its replication is {volume.replication_status}, and its replica would stay behind"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)
    if found := repositories.moves.find(conn, volume.id):
        what = (
            f"its former object at {found.full_host} is still to be removed" if found.switched else "it is being moved"
        )
        raise errors.Conflict(reason=f"volume {volume.id} cannot {action} now: {what}")
    if moves.in_cluster(conn, volume.id):
        raise errors.Conflict(reason=f"volume {volume.id} cannot {action} now: it is being moved")


def submit_move(
    app: App,
    conn: sa.Connection,
    context: Context,
    kinds: Kinds,
    args: MoveArgs,
    volume: Volume,
    destination: str,
    volume_type_id: str | None,
) -> None:
    """Submit the move of the volume to `host@backend#pool`, where it is to have this type; its status is the caller's."""
    host, backend, _pool = names.split_host(destination)
    if host != volume.host:
        source = names.join_host(volume.host, volume.backend)
        args = replace(args, source=source, destination=names.join_host(host, backend))
    kind = kinds.between_hosts if args.destination else kinds.within_host
    submit_kind(app, conn, context, kind, args, volume, destination, volume_type_id)


def submit_kind(
    app: App,
    conn: sa.Connection,
    context: Context,
    kind: OperationType[A],
    args: A,
    volume: Volume,
    destination: str,
    volume_type_id: str | None,
) -> None:
    """Submit a move of this kind, with the row of the volume's second place."""
    if clusters.is_same_storage(
        conn, volume.full_host, destination
    ):  # what is removed at the end would be its only object
        raise errors.InternalError(
            reason=f"{volume.full_host} and {destination} are one storage: nothing can be copied"
        )
    submitted = app.submit(conn, context, kind, args, backend=volume, resource=("volume", volume.id))
    place = names.split_host(destination)
    repositories.moves.insert(conn, Move(volume.id, submitted.id, volume.size, *place, volume_type_id=volume_type_id))
    moves.change_status(conn, volume.id, "begin")
