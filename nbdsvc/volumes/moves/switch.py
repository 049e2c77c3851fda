"""Step switch: the volume and its second place change their places, in one transaction."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.host import host_of
from nbdsvc.model.entities import Move, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.places import read_rows


def switch(run: Run[MoveArgs]) -> None:
    """Where a cancel was requested before, this ends the operation; one that comes later finds nothing to end."""
    with host_of(run).database.write() as conn:
        repositories.hold_attached(conn, run.args.volume_id)
        if not journal.go_on(conn, run.id) and not read_rows(conn, run.args.volume_id)[1].switched:
            raise errors.Cancelled(operation=run.id)
        volume, move = read_rows(conn, run.args.volume_id)
        if not move.switched:
            moves.switch(conn, volume, move, **_type_changes(conn, volume, move))
            moves.change_status(conn, volume.id, "switch")
        if run.args.destination:
            run.make_home(conn)  # its source's host may be gone for good


def _type_changes(conn: sa.Connection, volume: Volume, move: Move) -> dict[str, Any]:
    """What another type changes besides; with the same one the volume keeps what it was made with."""
    if move.volume_type_id in (None, volume.volume_type_id):
        return {}
    return {"multiattach": repositories.volume_types.get(conn, str(move.volume_type_id)).multiattach}
