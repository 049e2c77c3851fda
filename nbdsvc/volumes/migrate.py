"""Migrate a volume to another pool (os-migrate_volume)."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc.app import App, owner_scope
from nbdsvc.backends.destination import chosen_destination, destination_in_cluster, named_destination
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.store import clusters, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.in_cluster import submit_in_cluster
from nbdsvc.volumes.moves.kinds import kinds
from nbdsvc.volumes.moves.mirror import InUseArgs
from nbdsvc.volumes.moves.submit import check_movable, check_no_snapshots, submit_move
from nbdsvc.volumes.moves.submit_in_use import check_movable_in_use, submit_in_use

_DURING = "maintenance"


@dataclass(frozen=True)
class MigrateRequest:
    """A request for a migration."""

    host: str | None
    """`host@backend#pool`; None: the scheduler chooses."""
    force_host_copy: bool = False
    """Copy the bytes, also where the driver could move the volume by itself."""
    lock_volume: bool = False
    """Keep other commands away by the status `maintenance`; else the volume stays available, and they end the migration."""
    away_from: str = ""
    """A host that the scheduler does not choose."""
    cluster: str | None = None
    """`cluster@backend#pool`, of which the scheduler chooses a host; in place of `host`."""


def migrate_volume(app: App, context: Context, id: str, request: MigrateRequest) -> None:
    """Start migrating a volume, also one in use by one NBD client. Whatever its project, for administrators.

    Raises NotFound; InvalidInput for a destination that there is not, that is the volume's pool or cannot take it, and where
    the volume has snapshots; InvalidState for its status, Unsupported for other uses, Conflict while it is being
    moved; NoValidBackend and NoRoom where the scheduler finds no pool.
    """
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        if volume.status == "in-use":
            _migrate_in_use(app, conn, context, volume, request)
            return
        check_movable(
            conn, volume, "migrate", "be migrated", snapshots_follow=_is_within_cluster(conn, volume, request)
        )
        destination = _destination(app, conn, volume, request)
        if request.lock_volume:
            repositories.volumes.transition(
                conn, id, states.VOLUME["migrate"].sources, _DURING, action="be migrated", previous_status=volume.status
            )
        args = MoveArgs(id, request.force_host_copy, request.lock_volume)
        submit_migration(app, conn, context, args, volume, destination)


def submit_migration(
    app: App, conn: sa.Connection, context: Context, args: MoveArgs, volume: Volume, destination: str
) -> None:
    """Submit the migration of a volume that is not in use, without a copy to another host of its cluster."""
    if clusters.is_same_storage(conn, volume.full_host, destination):
        submit_in_cluster(app, conn, context, args, volume, destination)
    else:
        check_no_snapshots(conn, volume)
        submit_move(app, conn, context, MIGRATE, args, volume, destination, volume.volume_type_id)


def _migrate_in_use(app: App, conn: sa.Connection, context: Context, volume: Volume, request: MigrateRequest) -> None:
    attachment_id = check_movable_in_use(conn, volume)
    destination = _destination(app, conn, volume, request)
    args = InUseArgs(volume.id, True, request.lock_volume, attachment_id=attachment_id)
    submit_in_use(app, conn, context, volume, destination, args)


def _is_within_cluster(conn: sa.Connection, volume: Volume, request: MigrateRequest) -> bool:
    """Whether it may be a migration to another host that sees the storage, as far as the request tells."""
    named = request.host is not None and clusters.is_same_storage(conn, volume.full_host, request.host)
    return named or request.cluster is not None


def _destination(app: App, conn: sa.Connection, volume: Volume, request: MigrateRequest) -> str:
    if request.cluster is not None:
        return destination_in_cluster(app, conn, volume, request.cluster)
    if request.host is None:
        return chosen_destination(app, conn, volume, request.away_from)
    return named_destination(app, conn, volume, request.host)


MIGRATE = kinds("volume.migrate", _DURING)
