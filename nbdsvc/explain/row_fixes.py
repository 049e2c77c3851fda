"""The repairs of --fix in the database: they set the right status and submit operations, after another check."""

from collections.abc import Callable

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments.delete import submit_delete
from nbdsvc.attachments.repair import submit_repair
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.store import claims, groups, repositories, secrets, transitions
from nbdsvc.store import operations as journal

RowFix = Callable[[App, sa.Connection, Context, str], str | None]
"""Mends what is wrong with this resource, in the caller's transaction. Returns the operation that goes on with it."""


def _check_idle(conn: sa.Connection, id: str) -> None:
    if journal.busy(conn, id):
        raise errors.Conflict(reason=f"an operation on {id} is under way by now")


def failed_status(table: dict[str, states.Transition], during: str) -> str:
    """The final status of a transition that fails while the row has this status."""
    return next(each.failed for each in table.values() if each.during == during and each.failed)


def _end_volume(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    status = repositories.volumes.get_for_update(conn, id).status
    _check_idle(conn, id)
    if status in states.VOLUME_IN_FLIGHT:
        transitions.finish_volume(conn, id, status, failed_status(states.VOLUME, status), target_size=None)


def _end_snapshot(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    status = repositories.snapshots.get_for_update(conn, id).status
    _check_idle(conn, id)
    if status in states.SNAPSHOT_IN_FLIGHT:
        transitions.finish_snapshot(conn, id, status, failed_status(states.SNAPSHOT, status))


def _end_group(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    status = groups.groups.get_for_update(conn, id).status
    _check_idle(conn, id)
    if status in states.GROUP_IN_FLIGHT:
        transitions.finish_group(conn, id, status, failed_status(states.GROUP, status))


def _end_group_snapshot(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    status = groups.group_snapshots.get_for_update(conn, id).status
    _check_idle(conn, id)
    if status in states.GROUP_SNAPSHOT_IN_FLIGHT:
        transitions.finish_group_snapshot(conn, id, status, failed_status(states.GROUP_SNAPSHOT, status))


def _end_backup(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    status = repositories.backups.get_for_update(conn, id).status
    _check_idle(conn, id)
    if status in states.BACKUP_IN_FLIGHT:
        transitions.finish_backup(conn, id, status, failed_status(states.BACKUP, status))


def _lose_backup(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    repositories.backups.get_for_update(conn, id)
    _check_idle(conn, id)
    reason = "the store has no such backup"
    repositories.backups.transition_if(conn, id, states.BACKUP["be damaged"].sources, "error", fail_reason=reason)


def _follow_attachments(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    repositories.volumes.get_for_update(conn, id)
    _check_idle(conn, id)
    transitions.follow_attachments(conn, id)


def _forget_target_size(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    repositories.volumes.get_for_update(conn, id)
    _check_idle(conn, id)
    repositories.volumes.update(conn, id, target_size=None)


def _repair_export(app: App, conn: sa.Connection, context: Context, id: str) -> str:
    row = repositories.attachments.get(conn, id)
    volume = repositories.volumes.get(conn, row.volume_id)
    return submit_repair(app, conn, context, volume.full_host, volume.id, id)


def _detach(app: App, conn: sa.Connection, context: Context, id: str) -> str:
    row = repositories.attachments.get(conn, id)
    return submit_delete(app, conn, context, repositories.volumes.get(conn, row.volume_id), id)


def _sweep_secrets(_app: App, conn: sa.Connection, _context: Context, _id: str) -> None:
    """Remove the secrets of ended operations; the next maintenance overwrites them in the database's log."""
    secrets.sweep(conn)


def _forget_claim(_app: App, conn: sa.Connection, _context: Context, id: str) -> None:
    claims.forget_dead(conn, id)


ROW_FIXES: dict[str, RowFix] = {
    "volume.stuck": _end_volume,
    "volume.contradicted": _follow_attachments,
    "volume.target_size": _forget_target_size,
    "snapshot.stuck": _end_snapshot,
    "backup.stuck": _end_backup,
    "backup.object_gone": _lose_backup,
    "group.stuck": _end_group,
    "group_snapshot.stuck": _end_group_snapshot,
    "attachment.export_gone": _repair_export,
    "attachment.note_damaged": _repair_export,
    "attachment.export_sick": _repair_export,
    "attachment.export_surplus": _repair_export,
    "attachment.limits_differ": _repair_export,
    "attachment.stuck": _detach,
    "operation.secret_left": _sweep_secrets,
    "claim.stale": _forget_claim,
}
