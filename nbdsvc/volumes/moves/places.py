"""Both places of a volume that is moved, and how far its move is."""

from typing import NamedTuple

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.driver import VolumeRef
from nbdsvc.host import Backend, Host, host_of
from nbdsvc.model.entities import Move, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs


class Places(NamedTuple):
    """Both places of a volume, as this host sees them: before the switch it is `here`, and is to be `there`."""

    host: Host
    volume: Volume
    move: Move
    here: VolumeRef
    there: VolumeRef

    @classmethod
    def of(cls, host: Host, conn: sa.Connection, volume: Volume, move: Move) -> "Places":
        return cls(host, volume, move, volume_ref(conn, volume), volume_ref(conn, moves.there(volume, move)))

    @property
    def source(self) -> Backend:
        """The backend where the volume is. BackendUnavailable where this host does not serve it, any more."""
        return self._backend(self.volume)

    @property
    def destination(self) -> Backend:
        """The backend of its second place; errors as `source`."""
        return self._backend(self.move)

    @property
    def is_one_host(self) -> bool:
        return self.volume.host == self.move.host

    @property
    def is_one_backend(self) -> bool:
        return (self.volume.host, self.volume.backend) == (self.move.host, self.move.backend)

    def _backend(self, row: Volume | Move) -> Backend:
        if row.host != self.host.name:
            raise errors.BackendUnavailable(backend=row.full_host, reason=f"host {self.host.name} does not serve it")
        return self.host.backend(row.backend)


def read_places(run: Run[MoveArgs]) -> Places:
    """NotFound where the volume is moved no more."""
    host = host_of(run)
    with host.database.read() as conn:
        return Places.of(host, conn, *read_rows(conn, run.args.volume_id))


def read_rows(conn: sa.Connection, id: str) -> tuple[Volume, Move]:
    return repositories.volumes.get(conn, id), repositories.moves.get(conn, id)


def is_switched(run: Run[MoveArgs]) -> bool:
    with host_of(run).database.read() as conn:
        return read_rows(conn, run.args.volume_id)[1].switched


def is_copied(run: Run[MoveArgs]) -> bool:
    """Whether the driver did not move it, by the results of the step that lets it, which only moves of one host have."""
    return not run.results.get("move", {"moved": False})["moved"]


def at_source(run: Run[MoveArgs]) -> str:
    """For Step.host."""
    return run.args.source


def at_destination(run: Run[MoveArgs]) -> str:
    """For Step.host."""
    return run.args.destination
