"""Both places of a volume that is moved, and how far its move is."""

from typing import NamedTuple

import sqlalchemy as sa

from nbdsvc.driver import VolumeRef
from nbdsvc.host import Backend, host_of
from nbdsvc.model.entities import Move, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs


class Places(NamedTuple):
    """Both places of a volume, as they are before the switch."""

    volume: Volume
    move: Move
    source: Backend
    destination: Backend
    here: VolumeRef
    there: VolumeRef

    @property
    def is_one_backend(self) -> bool:
        return self.source is self.destination


def read_places(run: Run[MoveArgs]) -> Places:
    """NotFound; BackendUnavailable where one of the backends is not configured any more."""
    host = host_of(run)
    with host.database.read() as conn:
        volume, move = read_rows(conn, run.args.volume_id)
        here, there = volume_ref(conn, volume), volume_ref(conn, moves.there(volume, move))
    return Places(volume, move, host.backend(volume.backend), host.backend(move.backend), here, there)


def read_rows(conn: sa.Connection, id: str) -> tuple[Volume, Move]:
    return repositories.volumes.get(conn, id), repositories.moves.get(conn, id)


def is_switched(run: Run[MoveArgs]) -> bool:
    with host_of(run).database.read() as conn:
        return read_rows(conn, run.args.volume_id)[1].switched


def is_copied(run: Run[MoveArgs]) -> bool:
    """Whether the driver did not move it, by the results of the first step."""
    return not run.results["move"]["moved"]
