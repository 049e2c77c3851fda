"""Evacuate a host or a backend: no new volumes are placed there, and every volume that is there is migrated away.

A transaction for each volume, and so many volumes a call: whoever calls goes on behind the last one. What is under way is
left alone, and what failed is tried again, so that the same call may be repeated until nothing is there. The migrations are
operations like others: the lanes bound how many copy at once, and a crash of any process ends none of them.
"""

from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import services
from nbdsvc.backends.destination import destination_for_type, peer_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Move, Volume, VolumeType
from nbdsvc.model.operation import Operation
from nbdsvc.store import backends, moves, repositories, tables
from nbdsvc.store import operations as journal
from nbdsvc.types.queries import type_of_volume
from nbdsvc.volumes.image_cache.evict import submit_eviction
from nbdsvc.volumes.migrate import submit_migration
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.mirror import InUseArgs
from nbdsvc.volumes.moves.submit import check_movable
from nbdsvc.volumes.moves.submit_in_use import check_movable_in_use, submit_in_use

log = structlog.get_logger(__name__)

# Volumes of one call, which take some hundred milliseconds.
PAGE = 100
REASON = "evacuated"
# Under way; its former object is still to be removed; waits for an operation; its last migration failed; cannot go.
MOVING, LEFT_OVER, WAITING, FAILED, REFUSED = "moving", "left-over", "waiting", "failed", "refused"
_ADVICE = {
    "attached": "detach it, or let another backend of its host take it, or another host, where one NBD client uses it over "
    "the network; then evacuate again",
    "group": "remove it from its group, then evacuate again",
    "snapshots": "delete its snapshots, then evacuate again",
    "replica": "give it a type without replication, then evacuate again",
    "frozen": "thaw the backend, then evacuate again",
    "room": "make room in one of these pools or add one, then evacuate again",
    "status": "end what its status stands for, or reset its status, then evacuate again",
    "left-over": "it is removed when its backend works; see nbdsvc explain",
    "kept": "let the host of the volume return with it (nbdsvc host return), or delete the volume",
}


@dataclass(frozen=True)
class EvacuateRequest:
    """Which volumes, and what becomes of those that failed."""

    host: str
    """A host, or host@backend."""
    marker: str | None = None
    """Begin behind the volume of this id."""
    retry_failed: bool = True
    """Migrate again what failed to migrate before."""


@dataclass(frozen=True)
class Evacuee:
    """What becomes of a volume that is, or of which something is, on what is evacuated."""

    volume: Volume
    state: str
    operation: Operation | None = None
    destination: str | None = None
    obstacle: str | None = None
    """A word for programs: attached, group, snapshots, replica, frozen, room, status, busy, left-over, kept."""
    reason: str | None = None

    @property
    def advice(self) -> str | None:
        """What to do about it; None where there is nothing to do but wait."""
        return _ADVICE.get(self.obstacle or "")


def evacuate(app: App, context: Context, request: EvacuateRequest) -> tuple[list[Evacuee], str | None]:
    """Start migrating the next volumes away; what became of each, and the marker for the next call, if there are more.

    Raises NotFound for a host that there is not.
    """
    ids = _next_ids(app, request)
    found = [each for id in ids for each in [_evacuate(app, context, id, request)] if each]
    return found, ids[-1] if len(ids) == PAGE else None


def _next_ids(app: App, request: EvacuateRequest) -> list[str]:
    with app.database.write() as conn:
        rows = services.matching(conn, request.host)
        if not rows:
            raise errors.NotFound(resource="Service on host", id=request.host)
        for row in rows:
            if not row.disabled:
                services.change(conn, row, disabled=True, disabled_reason=REASON)
        places = [_ids_at(conn, table, request) for table in (tables.volumes, tables.moves)]
        return list(conn.scalars(sa.union(*places).order_by("id").limit(PAGE)))


def _ids_at(conn: sa.Connection, table: sa.Table, request: EvacuateRequest) -> "sa.Select[tuple[str]]":
    host, backend, _pool = names.split_host(request.host)
    here = [table.c.host == host]
    if backend:
        here.append(table.c.backend.in_(backends.names_in_rows(conn, host, backend)))
    return sa.select(table.c.id).where(*here, table.c.id > (request.marker or ""))


def _evacuate(app: App, context: Context, id: str, request: EvacuateRequest) -> Evacuee | None:
    """None for a volume that has gone meanwhile, and for a cached image, which is removed."""
    with app.database.read() as conn:
        volume = repositories.volumes.find(conn, id)
        if volume is None:
            return None
        is_cached = volume.project_id == names.IMAGE_CACHE
        found = None if is_cached else _under_way(conn, volume, request)
    if is_cached:
        _evict(app, context, volume)
        return None
    return found or _migrate(app, context, volume)


def _evict(app: App, context: Context, volume: Volume) -> None:
    """A cached image does not move: it is removed, and made again where volumes of it are made."""
    try:
        with app.change() as conn:
            submit_eviction(app, conn, context, volume.id)
    except errors.RequestError as error:
        log.warning("a cached image stays on what is evacuated", volume=volume.id, reason=str(error))


def _under_way(conn: sa.Connection, volume: Volume, request: EvacuateRequest) -> Evacuee | None:
    """What is to be left alone."""
    move = repositories.moves.find(conn, volume.id)
    if move:
        return _of_move(conn, volume, move, request)
    if operation := moves.in_cluster(conn, volume.id):
        return Evacuee(volume, MOVING, operation, f"{operation.args['destination']}#{volume.pool}")
    if volume.migration_status == "error" and not request.retry_failed:
        return _failed(conn, volume)
    return None


def _of_move(conn: sa.Connection, volume: Volume, move: Move, request: EvacuateRequest) -> Evacuee:
    operation = journal.rows.find(conn, move.operation_id)
    destination, source = (volume.full_host, move.full_host) if move.switched else (move.full_host, volume.full_host)
    if moves.is_last_copy(conn, move):
        reason = f"its former object at {move.full_host} is kept: host {volume.host}, where it went, may have lost it"
        return Evacuee(volume, LEFT_OVER, operation, destination, "kept", reason)
    if operation is None or operation.finished:
        reason = f"its former object at {move.full_host} is still to be removed"
        return Evacuee(volume, LEFT_OVER, operation, destination, "left-over", reason)
    if services.is_on(source, request.host):
        return Evacuee(volume, MOVING, operation, destination)
    reason = f"operation {operation.id} is moving it here: it goes on when that has ended"
    return Evacuee(volume, WAITING, operation, destination, "busy", reason)


def _failed(conn: sa.Connection, volume: Volume) -> Evacuee:
    last = journal.latest_for(conn, volume.id)
    if last and last.kind in moves.KINDS and last.error:
        return Evacuee(volume, FAILED, last, reason=str(errors.from_facts(last.error)))
    return Evacuee(volume, FAILED, reason="its last migration failed")


def _migrate(app: App, context: Context, seen: Volume) -> Evacuee:
    try:
        return _submit(app, context, seen)
    except (errors.RequestError, errors.NoValidBackend, errors.OutOfSpace) as error:
        with app.database.read() as conn:
            volume = repositories.volumes.find(conn, seen.id) or seen
            is_busy = isinstance(error, errors.QuotaExceeded) or journal.busy(conn, seen.id)
            obstacle = "busy" if is_busy else _obstacle(conn, volume, error)
        return Evacuee(volume, WAITING if is_busy else REFUSED, obstacle=obstacle, reason=str(error))


def _submit(app: App, context: Context, seen: Volume) -> Evacuee:
    wanted = type_of_volume(app, seen.volume_type_id)
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, seen.id)
        if volume.status == "in-use":
            destination = _submit_in_use(app, conn, context, volume, wanted)
        else:
            peer = peer_of(app, conn, volume)
            check_movable(conn, volume, "migrate", "be migrated", snapshots_follow=peer is not None)
            destination = peer or destination_for_type(app, conn, volume, wanted)
            submit_migration(app, conn, context, MoveArgs(volume.id, lock_volume=False), volume, destination)
        return Evacuee(volume, MOVING, journal.latest_for(conn, volume.id), destination)


def _submit_in_use(app: App, conn: sa.Connection, context: Context, volume: Volume, wanted: VolumeType) -> str:
    """Under its client, to another backend of its host where one can take it, else to another host. The destination."""
    attachment_id = check_movable_in_use(conn, volume)
    destination = destination_for_type(app, conn, volume, wanted)
    args = InUseArgs(volume.id, True, lock_volume=False, attachment_id=attachment_id)
    submit_in_use(app, conn, context, volume, destination, args)
    return destination


def _obstacle(conn: sa.Connection, volume: Volume, error: errors.Error) -> str:
    """The word for what keeps it."""
    if isinstance(error, errors.Frozen):
        return "frozen"
    if isinstance(error, errors.InvalidInput):
        if volume.group_id is not None:
            return "group"
        return "snapshots" if repositories.snapshots_of(conn, volume.id) else "replica"
    is_attached = any(each.status != "detached" for each in repositories.attachments_of(conn, volume.id))
    if isinstance(error, errors.OutOfSpace) or (isinstance(error, errors.NoValidBackend) and not is_attached):
        return "room"
    return "attached" if is_attached else "status"
