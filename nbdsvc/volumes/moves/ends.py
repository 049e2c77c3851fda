"""How a move ends: the rows of the volume and of its second place."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import states
from nbdsvc.model.entities import Move
from nbdsvc.model.operation import Operation
from nbdsvc.store import hosts, moves, repositories, transitions
from nbdsvc.volumes.moves.arguments import MoveArgs


def succeed(conn: sa.Connection, _operation: Operation, args: MoveArgs, during: str) -> None:
    """The end of a move. during: the status of a volume that it locks."""
    repositories.moves.delete(conn, args.volume_id)
    moves.change_status(conn, args.volume_id, "finish")
    _unlock(conn, args, during)


def fail(conn: sa.Connection, operation: Operation, args: MoveArgs, error: errors.Error, during: str) -> None:
    """The end of a move that was undone, or that could not remove one of the objects: that keeps its row. So does a place on
    a host that was declared lost, where nothing was undone.
    """
    move = repositories.moves.find(conn, args.volume_id)
    copied = bool(args.destination) or operation.results.get("move") == {"moved": False}
    if move and move.switched and not copied:
        succeed(conn, operation, args, during)
        return
    if not (copied and move and (move.switched or _is_left(conn, move, error))):
        repositories.moves.delete(conn, args.volume_id)
    moves.change_status(conn, args.volume_id, "give up")
    _unlock(conn, args, during)


def _is_left(conn: sa.Connection, move: Move, error: errors.Error) -> bool:
    return isinstance(error, errors.RollbackFailed) or hosts.is_missing(conn, move.host)


def _unlock(conn: sa.Connection, args: MoveArgs, during: str) -> None:
    if args.lock_volume:
        transitions.finish_volume(conn, args.volume_id, during, states.PREVIOUS)
