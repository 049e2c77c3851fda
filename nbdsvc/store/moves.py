"""Moves of volumes: the rows of second places (model/entities.Move), and the volume's migration_status."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock, names, states
from nbdsvc.model.entities import Move, Volume
from nbdsvc.model.operation import FAILED, UNDOING, Operation
from nbdsvc.store import hosts, operations, repositories, tables

_volumes = tables.volumes.c
_moves = tables.moves.c
_being_given = (
    sa.select(sa.func.count())
    .join_from(tables.moves, tables.volumes, _moves.id == _volumes.id)
    .where(_moves.volume_type_id == sa.bindparam("type"), _moves.switched.is_(False))
    .where(_volumes.volume_type_id.is_distinct_from(_moves.volume_type_id))
)
# Operations that move a volume; their arguments have `lock_volume`.
KINDS = (
    "volume.migrate",
    "volume.retype",
    "volume.migrate_between_hosts",
    "volume.retype_between_hosts",
    "volume.migrate_in_use",
    "volume.migrate_in_use_between_hosts",
    "volume.migrate_in_cluster",
)
# The step of an operation in which the server of an export goes to the destination before the rows do.
SERVER_SWITCHES = {"volume.migrate_in_use": 3}
# In the error of an undo, where the server of an export may still switch, or has: what is at either place stays.
UNKNOWN_PLACE = "it is not known whether the server of the volume's export has taken it to its second place"
# What a volume has of its place.
_PLACE = ("host", "backend", "pool", "volume_type_id", "provider_id", "provider_location", "driver_data")


def change_status(conn: sa.Connection, id: str, verb: str) -> bool:
    """Compare-and-swap of migration_status by this row of states.MIGRATION; False where it is in none of its sources."""
    rule = states.MIGRATION[verb]
    is_now = sa.func.coalesce(_volumes.migration_status, "none").in_(sorted(rule.sources))
    move = tables.volumes.update().where(_volumes.id == id, is_now)
    return conn.execute(move.values(migration_status=rule.done, updated_at=clock.now())).rowcount == 1


def there(volume: Volume, move: Move) -> Volume:
    """The volume as it is, or was, or is to be, at its second place."""
    return replace(volume, **_place_of(move))


def switch(conn: sa.Connection, volume: Volume, move: Move, **changes: Any) -> None:
    """Let the volume and its second place change their places. `changes`: of other columns of the volume's row."""
    repositories.volumes.update(conn, volume.id, **_place_of(move), **changes)
    repositories.moves.update(conn, volume.id, **_place_of(volume), switched=True)


def _place_of(row: Volume | Move) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _PLACE}


def being_given(conn: sa.Connection, type_id: str) -> int:
    """How many volumes a retype under way gives this type with its switch."""
    found: int = conn.execute(_being_given, {"type": type_id}).scalar_one()
    return found


def is_undecided(conn: sa.Connection, operation: Operation) -> bool:
    """Whether the server of an export may have taken the volume to its second place, and the rows could not follow: the
    host of that server alone knows which of the two has the newest bytes.
    """
    move = repositories.moves.find(conn, operation.resource_id)
    switches = SERVER_SWITCHES.get(operation.kind)
    if switches is None or move is None or move.operation_id != operation.id or move.switched:
        return False
    # An undo that has come past the switch tells no more whether there was one.
    return operation.cursor >= (1 if operation.state == UNDOING else switches)


def undecided(conn: sa.Connection, host: str) -> frozenset[str]:
    """The volumes of which this host alone knows where they are."""
    found = operations.unfinished(conn, host)
    return frozenset(each.resource_id for each in found if is_undecided(conn, each))


def is_last_copy(conn: sa.Connection, move: Move) -> bool:
    """Whether the source may be the last copy of a volume: its destination was declared lost after the switch and has not
    returned, or has returned without the volume, whose status is `error` then.
    """
    volume = repositories.volumes.find(conn, move.id)
    if not move.switched or volume is None or volume.host == move.host:
        return False
    return volume.status == "error" or hosts.is_missing(conn, volume.host)


def in_cluster(conn: sa.Connection, volume_id: str) -> Operation | None:
    """The unfinished migration of the volume to another host of its cluster, which has no second place."""
    found = operations.unfinished_of(conn, volume_id)
    return next((each for each in found if each.kind == "volume.migrate_in_cluster"), None)


def locks_snapshot(conn: sa.Connection, volume: Volume, wanted: set[str]) -> bool:
    """Whether a migration of the volume within its cluster has locked one of these names, which are of its snapshots."""
    if volume.migration_status not in states.MIGRATION_IN_FLIGHT:
        return False
    operation = in_cluster(conn, volume.id)
    ids = operation.args.get("snapshot_ids", ()) if operation else ()
    return bool(wanted & {names.delete_snapshot_lock(id) for id in ids})


def yield_to(conn: sa.Connection, volume: Volume) -> None:
    """End a move of the volume that does not lock it, for another command: it is cancelled, and what waits for it goes on.

    Conflict where it locks the volume, where the volume changed its place since `volume` was read, and where a migration in
    use that has ended may have taken it to its second place.
    """
    for operation in operations.unfinished_of(conn, volume.id):
        if operation.kind not in KINDS:
            continue
        if operation.args.get("lock_volume", True):
            reason = f"volume {volume.id} is being moved by operation {operation.id}: wait for its end, or cancel it"
            raise errors.Conflict(reason=reason)
        operations.request_cancel(conn, operation.id)
        _check_not_switching(conn, operation.id, volume.id)
    _check_not_at_second_place(conn, volume.id)
    # The switch and the request to cancel change the same rows: of the two the later one sees the earlier one.
    if repositories.volumes.get(conn, volume.id).full_host != volume.full_host:
        raise errors.Conflict(reason=f"volume {volume.id} has just been moved: send the request again")


def _check_not_at_second_place(conn: sa.Connection, volume_id: str) -> None:
    """Conflict where a migration in use ended before it was certain that the server of the export has not taken the volume to
    its second place: with its host, which was lost and has returned, or because the server did not say. Maintenance finds
    out.
    """
    move = repositories.moves.find(conn, volume_id)
    if move is None or move.switched:
        return
    found = operations.rows.find(conn, move.operation_id)
    if found is None:  # forgotten meanwhile: both places of a migration in use are of one host
        is_open = repositories.volumes.get(conn, volume_id).host == move.host
    else:  # one that its host has undone leaves no place, and one that it could not undo is in another state
        undo_error = str((found.error or {}).get("facts", {}).get("undo_error"))
        is_open = found.kind in SERVER_SWITCHES and (found.state == FAILED or UNKNOWN_PLACE in undo_error)
    if is_open:
        raise errors.Conflict(
            reason=f"volume {volume_id} may have been taken to {move.full_host} by the server of its export, which is found "
            "out at the next maintenance of its host: send the request again"
        )


def _check_not_switching(conn: sa.Connection, operation_id: str, volume_id: str) -> None:
    """Conflict where the server of an export may switch now, or has and the rows have not: a cancel may come too late."""
    found, move = operations.rows.find(conn, operation_id), repositories.moves.find(conn, volume_id)
    if found and move and not move.switched and found.cursor == SERVER_SWITCHES.get(found.kind):
        raise errors.Conflict(
            reason=f"volume {volume_id} is being switched to {move.full_host}: send the request again"
        )
