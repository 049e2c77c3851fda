"""Import the record of a backup: a row for what is in a store already."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backups import places, records
from nbdsvc.backups.arguments import OneBackupArgs
from nbdsvc.host import host_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Backup
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import quotas, repositories, transitions
from nbdsvc.units import GiB


def import_record(app: App, context: Context, service: str, url: str) -> Backup:
    """Make a row of the administrator's project, and start looking whether the store has the backup.

    It keeps its id, by which its manifest is called. Raises InvalidInput for what is no record, Conflict where there is a
    backup of this id, QuotaExceeded.
    """
    if service != records.SERVICE:
        reason = f"only records of {records.SERVICE} can be read"
        raise errors.InvalidInput(field="backup_service", value=service[:80], reason=reason)
    fields = records.decode(url)
    with app.change() as conn:
        app.database.lock_name(conn, f"import-{fields['id']}")
        if repositories.backups.find(conn, fields["id"]):
            raise errors.Conflict(reason=f"there is a backup {fields['id']} already")
        wanted = {"backups": 1, "backup_gigabytes": fields["size"]}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        host, backend, _pool = names.split_host(places.place_of(app, conn))
        row = _row(context, fields, host, backend)
        repositories.backups.insert(conn, row)
        where = names.join_host(host, backend)
        app.submit(conn, context, IMPORT_BACKUP, OneBackupArgs(row.id), backend=where, resource=("backup", row.id))
    return row


def _row(context: Context, fields: dict[str, Any], host: str, backend: str) -> Backup:
    made = Backup(project_id=context.project_id, user_id=context.user_id, status="creating", **fields)
    return replace(made, host=host, backend=backend)


def _locks(args: OneBackupArgs) -> list[Lock]:
    return locks("backup.import", backup=args.backup_id)


def _look(run: Run[OneBackupArgs]) -> dict[str, int]:
    """Whether the store has the manifest, and all that this needs; what it says counts, and not the record."""
    row = places.read_backup(run, run.args.backup_id)
    space = places.space_of(run, row)
    manifest = host_of(run).vault.manifest(space, row.id)
    if manifest.size != row.size * GiB:
        reason = f"its record has {row.size} GiB, and its manifest {manifest.size} bytes"
        raise errors.BackupDamaged(backup=row.id, reason=reason)
    Reader(space, manifest).check_present()
    return {"chunks": sum(id is not None for id in manifest.chunks)}


def _succeed(conn: sa.Connection, operation: Operation, args: OneBackupArgs) -> None:
    count = operation.results["look"]["chunks"]
    transitions.finish_backup(conn, args.backup_id, "creating", "available", object_count=count)


def _fail(conn: sa.Connection, _operation: Operation, args: OneBackupArgs, error: errors.Error) -> None:
    reason = error.message_for_user(everything=False)
    transitions.finish_backup(conn, args.backup_id, "creating", "error", fail_reason=reason)
    # Whoever imports it again deletes this row first, which must not take away what is in the store after all.
    repositories.backups.update(conn, args.backup_id, store_id=None)


IMPORT_BACKUP = OperationType(
    "backup.import", OneBackupArgs, (Step("look", _look),), _locks, _succeed, _fail, modifies=False, adds=True
)
