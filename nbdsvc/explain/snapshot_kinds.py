"""Differences of snapshots, and of objects in pools that have no row."""

from collections.abc import Iterator
from typing import Any

from nbdsvc.driver import BackendObject
from nbdsvc.explain.finding import ERROR, NOTE, WARNING, Case, Found
from nbdsvc.explain.view import View, place
from nbdsvc.model import names, states
from nbdsvc.model.entities import Move, Snapshot, Volume


def _found(snapshot: Snapshot, volume: Volume | None, since: Any = None, **values: Any) -> Found:
    name = f" ({snapshot.name})" if snapshot.name else ""
    related = {snapshot.volume_id} | ({place(volume)} if volume else set())
    return Found("snapshot", snapshot.id, {"name": name, "volume": snapshot.volume_id, **values}, since,
                 frozenset(related))  # fmt: skip


def _with_objects(view: View) -> Iterator[tuple[Snapshot, Volume, list[BackendObject]]]:
    """Each snapshot that has bytes in a pool that was listed, with its objects in the volume's backend."""
    for snapshot, volume in view.idle_snapshots():
        if snapshot.status == "available" and view.is_readable(volume):
            yield snapshot, volume, view.copies("snapshot", snapshot.id, view.backend(volume))


def _object_gone(view: View) -> Iterator[Found]:
    for snapshot, volume, found in _with_objects(view):
        if not found:
            yield _found(snapshot, volume, pool=volume.full_host)


def _misplaced(view: View) -> Iterator[Found]:
    for snapshot, volume, found in _with_objects(view):
        if found and volume.pool not in {each.pool for each in found}:
            yield _found(snapshot, volume, pool=volume.full_host, there=found[0].pool)


def _unmarked(view: View) -> Iterator[Found]:
    for snapshot, volume, found in _with_objects(view):
        if found and not any(each.owner for each in found):
            yield _found(snapshot, volume, object=found[0].name)


def _other_origin(view: View) -> Iterator[Found]:
    for snapshot, volume, found in _with_objects(view):
        for origin in {each.origin for each in found if each.origin} - {volume.id}:
            yield _found(snapshot, volume, origin=origin)


def _lost(view: View) -> Iterator[Found]:
    for backend, each in view.idle_objects():
        row = view.snapshots.get(each.id or "")
        if each.kind == "snapshot" and each.fault and row:
            yield _found(row, view.volumes.get(row.volume_id), reason=each.fault, backend=backend)


def _without_row(kind: str, known: Any) -> Any:
    """Objects with nbdsvc's mark whose row is gone."""

    def find(view: View) -> Iterator[Found]:
        for backend, each in view.idle_objects():
            is_without = each.id not in known(view) and view.backup_of(each) is None
            if each.kind == kind and each.owner and is_without:
                where = names.join_host(view.facts.host, backend)
                values = {"object": each.name, "pool": names.join_host(view.facts.host, backend, each.pool)}
                yield Found(kind, str(each.id), values, related=frozenset({where}))

    return find


def _of_others(view: View) -> Iterator[tuple[Found, Volume, Move | None]]:
    """Objects of volumes of other hosts, and the row by which they are the second places of these."""
    moves = {(each.id, each.full_host): each for each in view.facts.moves}
    for backend, each in view.idle_objects():
        row = view.volumes.get(each.id or "")
        is_elsewhere = row is not None and row.host != view.facts.host and not view.is_shared(row, backend)
        if each.kind == "volume" and each.owner and row and is_elsewhere:
            here = names.join_host(view.facts.host, backend, each.pool)
            found = Found("volume", row.id, {"here": here, "there": row.full_host},
                          related=frozenset({names.join_host(view.facts.host, backend)}))  # fmt: skip
            yield found, row, moves.get((row.id, here))


def _left_behind(view: View) -> Iterator[Found]:
    return (found for found, _row, move in _of_others(view) if move is None)


def _left(view: View) -> Iterator[Found]:
    return (found for found, row, move in _of_others(view) if move and not _is_last(view, row, move))


def _kept(view: View) -> Iterator[Found]:
    return (found for found, row, move in _of_others(view) if move and _is_last(view, row, move))


def _is_last(view: View, row: Volume, move: Move) -> bool:
    """As moves.is_last_copy, by the facts."""
    return move.switched and (row.status == "error" or row.host in view.facts.missing)


def _volume_gone(view: View) -> Iterator[Found]:
    for row in view.facts.snapshots:
        if row.volume_id not in view.volumes and view.idle(row.id, row.volume_id):
            yield _found(row, None)


def _stuck(view: View) -> Iterator[Found]:
    for snapshot, volume in view.idle_snapshots():
        if snapshot.status in states.SNAPSHOT_IN_FLIGHT:
            yield _found(snapshot, volume, snapshot.updated_at or snapshot.created_at, status=snapshot.status)


def _failed(view: View) -> Iterator[Found]:
    for snapshot, volume in view.idle_snapshots():
        if snapshot.status.startswith("error"):
            operation = view.facts.newest.get(snapshot.id)
            reason = (operation.error or {}).get("message") if operation else None
            since = (operation.finished_at if operation else None) or snapshot.updated_at
            yield _found(snapshot, volume, since, status=snapshot.status, reason=reason or "its pool lost it, or its "
                         "operation is forgotten")  # fmt: skip


OF_STORAGE = (
    Case("snapshot.object_gone", ERROR, "snapshot {id}{name} of volume {volume} is not in {pool}",
         "bring its disk or folder back, or delete the snapshot", _object_gone),
    Case("snapshot.misplaced", ERROR, "snapshot {id}{name} is in pool {there}, and its volume {volume} is in {pool}",
         "move it back by the means of the storage", _misplaced),
    Case("snapshot.unmarked", ERROR, "{object} in the pool of snapshot {id}{name} has no mark of this service: it is "
         "another one's, or was put there by hand", "find out whose it is; rename it, and bring the snapshot's own back",
         _unmarked),
    Case("snapshot.other_origin", ERROR, "snapshot {id}{name} is of volume {volume} by its row, and of {origin} in its pool",
         "find out which is right before anything is reverted to it", _other_origin),
    Case("snapshot.lost", ERROR, "snapshot {id}{name} of volume {volume} has lost its bytes: {reason}",
         "delete it; the volume itself is whole", _lost),
    Case("object.volume_without_row", WARNING, "{object} in {pool} is marked as a volume of this service, and has no row",
         "make a row for it (nbdsvc rebuild), or remove it by the means of the storage",
         _without_row("volume", lambda view: view.volumes)),
    Case("object.snapshot_without_row", WARNING, "{object} in {pool} is marked as a snapshot of this service, and has no "
         "row", "make a row for it (nbdsvc rebuild), or remove it by the means of the storage",
         _without_row("snapshot", lambda view: view.snapshots)),
    Case("object.left_behind", WARNING, "volume {id} is on {there} by its row, and has an object in {here} too",
         "compare the two, and remove the one in {here} by the means of the storage", _left_behind),
    Case("object.left", NOTE, "volume {id} is on {there}, and an object in {here}, of a move that ended, is still to be "
         "removed", "nothing: the service tries again at each interval; its log says what hinders it", _left),
    Case("object.kept", WARNING, "volume {id} went to {there}, whose host was lost or lost it, and its former object in "
         "{here} is kept", "let that host return with the volume (nbdsvc host return), or delete the volume: "
         "it may be the last copy", _kept),
)  # fmt: skip

OF_ROWS = (
    Case("snapshot.volume_gone", ERROR, "snapshot {id}{name} is of volume {volume}, which has no row",
         "restore the database from a backup", _volume_gone),
    Case("snapshot.stuck", ERROR, "snapshot {id}{name} of volume {volume} is {status}, and no operation works on it",
         "give it the status of a failed operation (--fix), then delete it or try again", _stuck,
         fix="give it the status that the operation's failure would have"),
    Case("snapshot.failed", NOTE, "snapshot {id}{name} of volume {volume} is {status}: {reason}",
         "mend the reason and repeat the request, or delete the snapshot", _failed),
)  # fmt: skip
