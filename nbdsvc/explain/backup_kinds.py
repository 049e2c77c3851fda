"""Differences of backups: between their rows, the store, and what a failure left in a pool."""

from collections.abc import Iterator

from nbdsvc.explain.finding import ERROR, NOTE, WARNING, Case, Found
from nbdsvc.explain.view import View
from nbdsvc.model import names, states
from nbdsvc.model.entities import Backup


def _found(row: Backup, **values: str) -> Found:
    name = f" ({row.name})" if row.name else ""
    given = {"name": name, "volume": row.volume_id, "status": row.status, **values}
    return Found("backup", row.id, given, row.updated_at or row.created_at, frozenset({row.volume_id}))


def _idle(view: View) -> Iterator[Backup]:
    return (row for row in view.facts.backups if view.idle(row.id))


def _is_ours(view: View, row: Backup) -> bool:
    """Of the hosts with one store, the one that is to delete the backup says it; each one where that is dead."""
    return row.host == view.facts.host or row.host in view.dead_hosts()


def _store_away(view: View) -> Iterator[Found]:
    store = view.facts.store
    if store and store.fault:
        yield Found("host", view.facts.host, {"reason": store.fault})


def _object_gone(view: View) -> Iterator[Found]:
    store = view.facts.store
    if store is None or store.fault:
        return
    for row in _idle(view):
        is_whole = row.status in ("available", "restoring") and row.store_id == store.id
        if is_whole and _is_ours(view, row) and (row.space, row.id) not in store.manifests:
            yield _found(row, store=store.id)


def _without_row(view: View) -> Iterator[Found]:
    store = view.facts.store
    known = {(row.space, row.id) for row in view.facts.backups}
    for space, id in sorted(store.manifests - known) if store else ():
        if names.is_id(id) and view.idle(id):
            yield Found("backup", id, {"space": space})


def _chunk_damaged(view: View) -> Iterator[Found]:
    store = view.facts.store
    for space, chunk in sorted(store.damaged) if store else ():
        yield Found("chunk", chunk, {"space": space})


def _device_left(view: View) -> Iterator[Found]:
    """Known by the id of a backup, which nothing else in a pool has."""
    for backend, each in view.idle_objects():
        if each.owner and (row := view.backup_of(each)) is not None:
            where = names.join_host(view.facts.host, backend, each.pool)
            yield _found(row, object=each.name, pool=where)


def _stuck(view: View) -> Iterator[Found]:
    return (_found(row) for row in _idle(view) if row.status in states.BACKUP_IN_FLIGHT)


OF_STORAGE = (
    Case("backup.store_away", ERROR, "host {id} cannot look at its store of backups: {reason}",
         "bring the store back; without it no backup can be made, restored or deleted there", _store_away),
    Case("backup.object_gone", ERROR, "backup {id}{name} of volume {volume} is {status}, and store {store} has no such "
         "backup", "bring back what the store has lost, or give the backup the status error (--fix) and delete it",
         _object_gone,
         fix="give it the status of a backup that cannot be restored"),
    Case("backup.object_without_row", NOTE, "the store has a backup {id} in space {space}, which has no row here",
         "none if it is another installation's; else import its record (nbdsvc backup import), or remove its manifest by the "
         "means of the store, and then: nbdsvc backup gc", _without_row),
    Case("backup.chunk_damaged", ERROR, "chunk {id} in space {space} of the store was read with another content than was "
         "written", "make a full backup of the volume again, which stores it anew where the volume still has it",
         _chunk_damaged),
    Case("backup.device_left", WARNING, "{object} in {pool} was made to be read by backup {id}{name} of volume {volume}, "
         "which is {status}", "remove it (--fix)", _device_left, fix="remove what a backup that has ended was read from"),
)  # fmt: skip

OF_ROWS = (
    Case("backup.stuck", ERROR, "backup {id}{name} of volume {volume} is {status}, and no operation works on it",
         "give it the status of a failed operation (--fix), then delete it or try again", _stuck,
         fix="give it the status that the operation's failure would have"),
)  # fmt: skip
