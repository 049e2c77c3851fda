"""Migrate a volume to another host of its cluster: both see its storage, so only its row goes there.

    leave    at the host where it is: nothing serves it any more, and what is noted of it there goes
    switch   the row names the other host, in one transaction

Its snapshots are where it is: operations on them have ended before, and later ones end the migration, as those on it do.
Before the switch a cancel or a failure ends the migration, and the volume is where it was.
"""

from dataclasses import replace
from functools import partial

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.exporter import Exporter
from nbdsvc.host import host_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import check_not_of_group
from nbdsvc.model.locking import locks
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import clusters, hosts, moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves import ends
from nbdsvc.volumes.moves.arguments import MoveArgs

_NAME, _DURING = "volume.migrate_in_cluster", "maintenance"


def submit_in_cluster(
    app: App, conn: sa.Connection, context: Context, args: MoveArgs, volume: Volume, destination: str
) -> None:
    """Submit the migration to `host@backend#pool`, which is the storage where the volume is; its status is the caller's.

    Raises InvalidInput for a snapshot that is a part of a group snapshot, which belongs to its group's host.
    """
    snapshots = repositories.snapshots_of(conn, volume.id)
    for each in snapshots:
        check_not_of_group(each, "go to another host with its volume")
    host, backend, _pool = names.split_host(destination)
    source = names.join_host(volume.host, volume.backend)
    placed = replace(
        args,
        source=source,
        destination=names.join_host(host, backend),
        snapshot_ids=tuple(each.id for each in snapshots),
    )
    app.submit(conn, context, MIGRATE_IN_CLUSTER, placed, backend=volume, resource=("volume", volume.id))
    moves.change_status(conn, volume.id, "begin")


def _leave(run: Run[MoveArgs]) -> None:
    """It has no attachment that is exported, so an export of it here is one that was left."""
    host, id = host_of(run), run.args.volume_id
    for exporter in host.exporters:
        for left in exporter.inventory().exports:
            if _volume_of(exporter, left) == id:
                exporter.remove(left)
    for each in (id, *run.args.snapshot_ids):
        host.digests.discard(each)


def _volume_of(exporter: Exporter, export: str) -> str | None:
    """None for an export that does not serve, too."""
    try:
        found = exporter.find(export)
    except errors.ExportFailed:
        return None
    return found[0].volume_id if found else None


def _switch(run: Run[MoveArgs]) -> None:
    """Cancelled where a cancel came before; Conflict where it is in use, BackendUnavailable where the other host is lost, or
    sees the storage no more: it may have waited for long.
    """
    there = names.split_host(run.args.destination)[0]
    with host_of(run).database.write() as conn:
        volume = repositories.volumes.get_for_update(conn, run.args.volume_id)
        if volume.host == there:
            return
        if not journal.go_on(conn, run.id):
            raise errors.Cancelled(operation=run.id)
        if any(each.exported for each in repositories.attachments_of(conn, volume.id)):
            raise errors.Conflict(reason=f"volume {volume.id} is in use")
        if hosts.is_lost_or_held(conn, there):
            raise errors.BackendUnavailable(backend=run.args.destination, reason="its host was declared lost")
        if there not in clusters.hosts_of(conn, volume.host, volume.backend):
            reason = f"its host does not see the storage of volume {volume.id} any more"
            raise errors.BackendUnavailable(backend=run.args.destination, reason=reason)
        repositories.volumes.update(conn, volume.id, host=there)
        moves.change_status(conn, volume.id, "switch")


MIGRATE_IN_CLUSTER = OperationType(
    _NAME,
    MoveArgs,
    (Step("leave", _leave), Step("switch", _switch, stoppable=False)),
    lambda args: locks(_NAME, volume=args.volume_id, snapshot=list(args.snapshot_ids)),
    partial(ends.succeed, during=_DURING),
    partial(ends.fail, during=_DURING),
    modifies=True,
)
