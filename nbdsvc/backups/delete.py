"""Delete a backup, and free what no other one needs."""

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backup_store.collection import collect
from nbdsvc.backups import places, sessions
from nbdsvc.backups.arguments import OneBackupArgs
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import backups, repositories, transitions
from nbdsvc.store import operations as journal

log = structlog.get_logger(__name__)


def delete_backup(app: App, context: Context, id: str, *, force: bool = False) -> None:
    """Start deleting a backup; `force`: from any status, also where others build on it, which stay whole.

    Forced again while the deletion is under way, it does nothing. Raises NotFound, InvalidState, and InvalidInput where
    incremental backups build on it.
    """
    rule = states.BACKUP["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        backup = repositories.backups.get_for_update(conn, id, owner_scope(context))
        if force and backup.status == "deleting" and journal.busy(conn, id):
            return
        if not force and backups.with_dependents(conn, [id]):
            reason = "Incremental backups exist for this backup."
            raise errors.InvalidInput(field="backup", value=id, reason=reason)
        repositories.backups.transition(conn, id, rule.sources, "deleting", action="delete")
        where = places.place_of(app, conn, backup)
        app.submit(conn, context, DELETE_BACKUP, OneBackupArgs(id), backend=where, resource=("backup", id))


def _locks(args: OneBackupArgs) -> list[Lock]:
    return locks("backup.delete", backup=args.backup_id)


def _remove(run: Run[OneBackupArgs]) -> dict[str, bool]:
    """Remove the manifest, and free the chunks of which it was the last user. Killed in between, the chunks are found by
    looking at all of them; where another manifest is damaged, by the first collection after that one is deleted.
    """
    backup = places.read_backup(run, run.args.backup_id)
    if backup.store_id is None:  # it never came to the store, or its import did not find it there
        return {"collected": True}
    space = places.space_to_free(run, backup)
    was_there = backup.id in set(space.store.names(f"{space.root}/manifests"))
    needed = space.remove_manifest(backup.id)
    space.end_session(backup.id)
    sessions.end_stale(run, space)
    try:
        collect(space, needed if was_there else None, sessions.sweeper_of(run))
    except errors.BackupDamaged as error:  # of another backup: this one is gone all the same
        log.warning("what a backup needed stays in the store", backup=backup.id, reason=str(error))
        return {"collected": False}
    return {"collected": True}


def _succeed(conn: sa.Connection, _operation: Operation, args: OneBackupArgs) -> None:
    repositories.backups.delete(conn, args.backup_id)


def _fail(conn: sa.Connection, _operation: Operation, args: OneBackupArgs, error: errors.Error) -> None:
    """Another delete ends it. Its only step is not stopped half-way, so nothing is known of what is there still."""
    reason = error.message_for_user(everything=False)
    transitions.finish_backup(conn, args.backup_id, "deleting", "error_deleting", fail_reason=reason)


DELETE_BACKUP = OperationType(
    "backup.delete",
    OneBackupArgs,
    (Step("remove", _remove, stoppable=False),),
    _locks,
    _succeed,
    _fail,
    modifies=False,
)
