"""Restore a backup: to a new volume, or over one that is not in use."""

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backup_store.manifest import Manifest
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.space import Space
from nbdsvc.backups import places
from nbdsvc.backups.records import volume_changes
from nbdsvc.driver import BackupDriver
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Backup, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.refs import keep_state, read_volume_ref
from nbdsvc.store import repositories, transitions
from nbdsvc.units import GiB
from nbdsvc.volumes.new_row import CreateVolumeRequest, check_one_source, insert_volume
from nbdsvc.volumes.read import Related, related_in


@dataclass(frozen=True)
class RestoreArgs:
    """Arguments of the operation `backup.restore`."""

    backup_id: str
    volume_id: str
    new: bool
    """The volume is made for it."""


def restore_backup(
    app: App, context: Context, id: str, volume_id: str | None = None, name: str | None = None
) -> Volume:
    """Start a restore; returns the volume. Without `volume_id` a new one, called `name` or restore_backup_ID.

    A larger volume reads as zeros behind the backup. Raises NotFound, InvalidState (backup or volume), InvalidInput (the
    volume is too small), and for a new volume what a creation raises.
    """
    with app.change() as conn:
        backup = _take(conn, context, id)
        if volume_id is None:
            request = CreateVolumeRequest(name=name or f"restore_backup_{id}", description=backup.description)
            volume = _insert_new(app, conn, context, backup, request)
        else:
            volume = _overwritten(conn, context, backup, volume_id)
        _submit(app, conn, context, RestoreArgs(id, volume.id, new=volume_id is None), volume)
    return volume


def create_volume_of_backup(
    app: App, context: Context, id: str, request: CreateVolumeRequest
) -> tuple[Volume, Related]:
    """Restore a backup to a new volume as the request wants it, by default of the backup's size; returns its row and what is
    shown with it.

    Raises NotFound and InvalidState (backup), InvalidInput for a size below the backup's, and what a creation raises.
    """
    check_one_source(request)
    app.check_database_room()
    with app.change() as conn:
        volume = _insert_new(app, conn, context, _take(conn, context, id), request)
        _submit(app, conn, context, RestoreArgs(id, volume.id, new=True), volume)
        related = related_in(app, conn, [volume])
    return volume, related


def _take(conn: sa.Connection, context: Context, id: str) -> Backup:
    """The backup, which is restored from now on."""
    found = repositories.backups.get(conn, id, owner_scope(context))
    rule = states.BACKUP["restore from"]
    repositories.backups.transition(conn, id, rule.sources, "restoring", action="be restored")
    return found


def _submit(app: App, conn: sa.Connection, context: Context, args: RestoreArgs, volume: Volume) -> None:
    app.submit(conn, context, RESTORE_BACKUP, args, backend=volume, resource=("volume", volume.id))


def _overwritten(conn: sa.Connection, context: Context, backup: Backup, volume_id: str) -> Volume:
    volume = repositories.volumes.get_for_update(conn, volume_id, owner_scope(context))
    if volume.size < backup.size:
        reason = f"it has {volume.size} GiB, and the backup has {backup.size} GiB"
        raise errors.InvalidInput(field="volume_id", value=volume_id, reason=reason)
    sources, changes = states.VOLUME["restore"].sources, {"previous_status": volume.status}
    return repositories.volumes.transition(
        conn, volume_id, sources, "restoring-backup", action="be restored to", **changes
    )


def _insert_new(
    app: App, conn: sa.Connection, context: Context, backup: Backup, request: CreateVolumeRequest
) -> Volume:
    if request.size is not None and request.size < backup.size:
        reason = f"must not be smaller than its backup's {backup.size} GiB"
        raise errors.InvalidInput(field="size", value=request.size, reason=reason)
    request = replace(request, size=request.size or backup.size)
    return insert_volume(app, conn, context, request, "restoring-backup")[0]


def _locks(args: RestoreArgs) -> list[Lock]:
    return locks("backup.restore", backup=args.backup_id, volume=args.volume_id)


def _manifest(run: Run[RestoreArgs]) -> tuple[Space, Manifest]:
    backup = places.read_backup(run, run.args.backup_id)
    space = places.space_of(run, backup)
    manifest = host_of(run).vault.manifest(space, backup.id)
    if manifest.size > backup.size * GiB:
        reason = f"it has {manifest.size} bytes, and its row {backup.size} GiB"
        raise errors.BackupDamaged(backup=backup.id, reason=reason)
    return space, manifest


def _check(run: Run[RestoreArgs]) -> dict[str, Any]:
    """Before anything is written: the store is there and has all that the backup needs. What a new volume has of the old."""
    space, manifest = _manifest(run)
    Reader(space, manifest).check_present()
    return volume_changes(manifest.description) if run.args.new else {}


def _allocate(run: Run[RestoreArgs]) -> None:
    if run.args.new:
        volume = read_volume_ref(run, run.args.volume_id)
        keep_state(run, repositories.volumes, volume.id, backend_of(run).driver.create_volume(volume, run.id))


def _undo_allocate(run: Run[RestoreArgs]) -> None:
    if run.args.new:
        backend_of(run).driver.delete_volume(read_volume_ref(run, run.args.volume_id))
    journaled_copy.remove_journal(run)


def _is_new(run: Run[RestoreArgs]) -> bool:
    return run.args.new


def _restore(run: Run[RestoreArgs]) -> dict[str, int]:
    volume, made = read_volume_ref(run, run.args.volume_id), dict[str, int]()
    host_of(run).digests.discard(volume.id)
    driver = backend_of(run).driver
    if isinstance(driver, BackupDriver):
        driver.restore_backup(volume, lambda: made.update(_fill(run)))
        return made
    return _fill(run)


def _fill(run: Run[RestoreArgs]) -> dict[str, int]:
    volume = read_volume_ref(run, run.args.volume_id)
    with Reader(*_manifest(run)).open() as source, journaled_copy.abort_reads_on_stop(run, source):
        journaled_copy.check_room(run, volume.pool, source)
        target, fingerprint = backend_of(run).driver.location(volume), run.args.backup_id.encode()[:32]
        return journaled_copy.fill(run, source, target, volume.size, fingerprint, empty=run.args.new)


def _succeed(conn: sa.Connection, operation: Operation, args: RestoreArgs) -> None:
    transitions.finish_volume(conn, args.volume_id, "restoring-backup", "available", **operation.results["check"])
    transitions.finish_backup(conn, args.backup_id, "restoring", "available")


def _fail(conn: sa.Connection, operation: Operation, args: RestoreArgs, error: errors.Error) -> None:
    """A new volume has no object any more; one of which something was overwritten is not usable until it is restored."""
    if args.new:
        transitions.finish_volume(conn, args.volume_id, "restoring-backup", "error")
    else:
        transitions.finish_volume(conn, args.volume_id, "restoring-backup", _status_of(conn, operation, args))
    if isinstance(error, errors.BackupDamaged):
        transitions.finish_backup(conn, args.backup_id, "restoring", "error", fail_reason=str(error))
    else:
        transitions.finish_backup(conn, args.backup_id, "restoring", "available")


def _status_of(conn: sa.Connection, operation: Operation, args: RestoreArgs) -> str:
    """As it was where the step that writes did not begin: the result of the one before it is recorded then."""
    volume = repositories.volumes.find(conn, args.volume_id)
    untouched = "check" not in operation.results and volume is not None
    return states.PREVIOUS if untouched and volume and volume.previous_status == "available" else "error_restoring"


RESTORE_BACKUP: OperationType[Any] = OperationType(
    "backup.restore",
    RestoreArgs,
    (
        Step("check", _check),
        Step("allocate", _allocate, _undo_allocate, needed=_is_new),
        Step("restore", _restore, copies=always),
        Step("tidy", journaled_copy.remove_journal),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
