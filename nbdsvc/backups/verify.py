"""Read all of a backup, and prove that it is what was written (ours; no action of Cinder)."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backups import places
from nbdsvc.backups.arguments import OneBackupArgs
from nbdsvc.host import host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import repositories


def verify_backup(app: App, context: Context, id: str) -> None:
    """Start reading every chunk. That one is wrong or missing is the error of the operation, and makes the backup `error`.

    Raises NotFound, and InvalidState for a backup that is not whole.
    """
    with app.change() as conn:
        backup = repositories.backups.get_for_update(conn, id, owner_scope(context))
        if backup.status not in ("available", "restoring"):
            facts = {"resource": "Backup", "id": id, "action": "be verified", "status": backup.status}
            raise errors.InvalidState(**facts, allowed=["available", "restoring"])
        where = places.place_of(app, conn, backup)
        app.submit(conn, context, VERIFY_BACKUP, OneBackupArgs(id), backend=where, resource=("backup", id))


def _locks(args: OneBackupArgs) -> list[Lock]:
    return locks("backup.verify", backup=args.backup_id)


def _verify(run: Run[OneBackupArgs]) -> dict[str, int]:
    backup = places.read_backup(run, run.args.backup_id)
    space = places.space_of(run, backup)
    manifest = host_of(run).vault.manifest(space, backup.id)
    count = Reader(space, manifest).verify(
        lambda done, total: run.progress(done, total, "verifying", done), run.raise_if_stopped
    )
    return {"size": manifest.size, "chunks": count}


def _fail(conn: sa.Connection, _operation: Operation, args: OneBackupArgs, error: errors.Error) -> None:
    """Damage is known from now on; a store that is away says nothing of the backup."""
    if isinstance(error, errors.BackupDamaged):
        sources = states.BACKUP["be damaged"].sources - {"restoring"}
        repositories.backups.transition_if(conn, args.backup_id, sources, "error", fail_reason=str(error))


def _succeed(_conn: sa.Connection, _operation: Operation, _args: OneBackupArgs) -> None:
    """The backup stays as it is."""


VERIFY_BACKUP = OperationType(
    "backup.verify",
    OneBackupArgs,
    (Step("verify", _verify, copies=always),),
    _locks,
    _succeed,
    _fail,
    modifies=False,
)
