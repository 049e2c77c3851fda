"""Migrate a volume to another pool (os-migrate_volume)."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.destination import named_destination
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.store import repositories
from nbdsvc.volumes.moves import ends
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.steps import STEPS
from nbdsvc.volumes.moves.submit import check_movable, submit_move

_DURING = "maintenance"


@dataclass(frozen=True)
class MigrateRequest:
    """A request for a migration."""

    host: str
    """`host@backend#pool`."""
    force_host_copy: bool = False
    """Copy the bytes, also where the driver could move the volume by itself."""
    lock_volume: bool = False
    """Keep other commands away by the status `maintenance`; else the volume stays available, and they end the migration."""


def migrate_volume(app: App, context: Context, id: str, request: MigrateRequest) -> None:
    """Start migrating a volume that is not in use. For administrators, whatever the volume's project.

    Raises NotFound; InvalidInput for a destination that there is not, that is the volume's pool or cannot take it, and where
    the volume has snapshots; InvalidState for its status, Unsupported while it is in use and for another host, Conflict
    while it is being moved.
    """
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id)
        check_movable(conn, volume, "migrate", "be migrated")
        destination = named_destination(app, conn, volume, request.host)
        if request.lock_volume:
            repositories.volumes.transition(
                conn, id, states.VOLUME["migrate"].sources, _DURING, action="be migrated", previous_status=volume.status
            )
        args = MoveArgs(id, request.force_host_copy, request.lock_volume)
        submit_move(app, conn, context, MIGRATE_VOLUME, args, volume, destination, volume.volume_type_id)


def _locks(args: MoveArgs) -> list[Lock]:
    return locks("volume.migrate", volume=args.volume_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: MoveArgs) -> None:
    ends.succeed(conn, args, _DURING)


def _fail(conn: sa.Connection, operation: Operation, args: MoveArgs, error: errors.Error) -> None:
    ends.fail(conn, operation, args, error, _DURING)


MIGRATE_VOLUME = OperationType("volume.migrate", MoveArgs, STEPS, _locks, _succeed, _fail, modifies=True)
