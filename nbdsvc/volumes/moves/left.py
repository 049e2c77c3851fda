"""Remove what a move could not remove at a volume's second place, when that backend works again."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.exporter import Exporter, MirrorExporter
from nbdsvc.host import Host, backend_of, host_of
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Move, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import left_ref
from nbdsvc.store import backends, clusters, lost_places, moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves.hooks import call_at_destination, call_hooks
from nbdsvc.volumes.moves.mirror import end_mirror, mirror_exporter
from nbdsvc.volumes.moves.places import Places

_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


@dataclass(frozen=True)
class FinishMoveArgs:
    """Arguments of the operation `volume.finish_move`."""

    volume_id: str


def finish_moves(app: App, host: str) -> int:
    """Submit the removal of what moves that have ended left on this host; returns how many.

    The source of a volume whose new host was declared lost stays until that host has returned with the volume, or the volume
    is deleted.
    """
    with app.database.read() as conn:
        returned = lost_places.of_host(conn, host)
    if returned:  # of a host that returned while its volume was moved elsewhere
        with app.change() as conn:
            lost_places.bring_back(conn, host)
    with app.database.read() as conn:
        left = [each for each in repositories.moves.select(conn) if each.host == host]
    return sum(_submit(app, each) for each in left)


def _submit(app: App, seen: Move) -> bool:
    with app.change() as conn:
        move = repositories.moves.find(conn, seen.id)
        if move is None or journal.busy(conn, move.id) or not _works(app, conn, move):
            return False
        if moves.is_last_copy(conn, move):
            return False
        args = FinishMoveArgs(move.id)
        app.submit(
            conn, _CONTEXT, FINISH_MOVE, args, backend=move.full_host, resource=("volume", move.id), bounded=False
        )
    return True


def _works(app: App, conn: sa.Connection, move: Move) -> bool:
    backend = backends.find(conn, move.full_host)
    return backend is not None and placement.is_up(app, backend) and not backend.frozen


def _locks(args: FinishMoveArgs) -> list[Lock]:
    return locks("volume.finish_move", volume=args.volume_id)


def _remove(run: Run[FinishMoveArgs]) -> None:
    with host_of(run).database.read() as conn:
        move = repositories.moves.find(conn, run.args.volume_id)
        volume = repositories.volumes.find(conn, run.args.volume_id)
        is_last = move is not None and moves.is_last_copy(conn, move)
        is_here = move and volume and clusters.is_same_storage(conn, move.full_host, volume.full_host)
    if is_last or is_here:
        raise errors.Conflict(reason=f"what is left here of volume {run.args.volume_id} may be its last copy")
    if move is not None:
        attachment = _mirroring(run, move)
        if attachment and not move.switched:
            _check_not_there(run, move, attachment)
        _remove_exports(run, move, volume)
        _end_copy(run, move, is_mirrored=attachment is not None)
        backend_of(run).driver.delete_volume(left_ref(move))
        if attachment and (move.switched or volume is None):
            mirror_exporter(host_of(run)).forget_move(attachment)


def _remove_exports(run: Run[FinishMoveArgs], move: Move, volume: Volume | None) -> None:
    """Those by which a volume was to come from another host, and by which its client was to find it here."""
    host = host_of(run)
    host.remove_export(move.operation_id)
    with host.database.read() as conn:
        operation = journal.rows.find(conn, move.operation_id)
    attachment = operation.args.get("attachment_id") if operation else None
    if attachment and not move.switched and (volume is None or volume.host != host.name):
        host.remove_export(attachment)


def _mirroring(run: Run[FinishMoveArgs], move: Move) -> str | None:
    """The attachment whose export mirrored the volume, of a move of a volume in use."""
    host = host_of(run)
    with host.database.read() as conn:
        operation = journal.rows.find(conn, move.operation_id)
    if operation is None:
        return _recorded(host, move)
    return operation.args.get("attachment_id") if operation.kind in moves.SERVER_SWITCHES else None


def _recorded(host: Host, move: Move) -> str | None:
    """By the server's record, where the operation is forgotten: its host was away for longer than operations are kept."""
    place = host.backend(move.backend).driver.location(left_ref(move))
    mirroring = [each for each in list[Exporter](host.exporters) if isinstance(each, MirrorExporter)]
    return next((id for each in mirroring for id, places in each.records().items() if place in places), None)


def _check_not_there(run: Run[FinishMoveArgs], move: Move, attachment: str) -> None:
    """Conflict where the server of an export has taken the volume there, and the rows could not follow it: they do now, and
    the next time the source is removed.
    """
    host = host_of(run)
    with host.database.read() as conn:
        volume = repositories.volumes.find(conn, move.id)
    if volume and end_mirror(host, move.id, attachment):
        raise errors.Conflict(reason=f"volume {move.id} is at {move.full_host}, where its export's server has taken it")


def _end_copy(run: Run[FinishMoveArgs], move: Move, *, is_mirrored: bool) -> None:
    """A destination that was gone when its move was taken back does not know that the copy ended, and neither do both places
    where the mirror could not be ended then.
    """
    host = host_of(run)
    with host.database.read() as conn:
        volume = repositories.volumes.find(conn, move.id)
        places = Places.of(host, conn, volume, move) if volume else None
    if places is None or move.switched:
        return
    if is_mirrored:
        call_hooks(places, "after_volume_copy")
    elif not places.is_one_host:
        call_at_destination(places, "after_volume_copy")


def _succeed(conn: sa.Connection, _operation: Operation, args: FinishMoveArgs) -> None:
    repositories.moves.delete(conn, args.volume_id)
    moves.change_status(conn, args.volume_id, "finish")


FINISH_MOVE = OperationType(
    "volume.finish_move",
    FinishMoveArgs,
    (Step("remove", _remove),),
    _locks,
    _succeed,
    # A failure leaves the row of the place, and with it the promise to try again.
    ephemeral=True,
    modifies=True,
    removes=True,
)
