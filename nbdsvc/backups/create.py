"""Back up a volume or a snapshot."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.backup_store.collection import collect
from nbdsvc.backup_store.keys import CLEAR, space_of
from nbdsvc.backup_store.manifest import Manifest
from nbdsvc.backup_store.space import Space
from nbdsvc.backup_store.writing import Writer
from nbdsvc.backups import places, sessions
from nbdsvc.backups.arguments import BackupArgs
from nbdsvc.backups.device import NO_DEVICE, device_location, make_device, needs_device, remove_device
from nbdsvc.backups.records import describe, describe_volume
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.rate_limit import Limit, LimitShare
from nbdsvc.driver import BackupDriver
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import clock, names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Backup, Snapshot, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.refs import read_volume, read_volume_ref
from nbdsvc.store import backends, backups, quotas, repositories, transitions

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CreateBackupRequest:
    """A request for a backup of a volume, or of one of its snapshots."""

    volume_id: str
    snapshot_id: str | None = None
    name: str | None = None
    description: str | None = None
    container: str | None = None
    incremental: bool = False
    """Build on the newest backup of the volume."""
    force: bool = False
    """Also of a volume that is in use."""
    metadata: dict[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    """Of the host that deletes and verifies it; None: the volume's."""


def create_backup(app: App, context: Context, request: CreateBackupRequest) -> Backup:
    """Start a backup.

    Raises NotFound, InvalidState (volume or snapshot), InvalidInput (a snapshot of another volume, a zone without a host, or
    no backup to build on), Unsupported (a volume in use on a backend without snapshots), QuotaExceeded, Frozen where it
    needs a temporary snapshot.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, request.volume_id, owner_scope(context))
        snapshot = _snapshot(conn, context, request, volume)
        size = snapshot.volume_size if snapshot else volume.size
        wanted = {"backups": 1, "backup_gigabytes": size}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        parent = _parent(conn, context, request, snapshot)
        in_use = snapshot is None and _begin_reading(conn, volume, force=request.force)
        if snapshot:
            sources_of = states.SNAPSHOT["back up"].sources
            repositories.snapshots.transition(conn, snapshot.id, sources_of, "backing-up", action="be backed up")
        zone, host, backend = places.home_of(app, conn, volume, request.availability_zone)
        row = _row(context, request, volume, snapshot, parent)
        made = repositories.backups.insert(conn, replace(row, availability_zone=zone, host=host, backend=backend))
        args = BackupArgs(made.id, volume.id, request.snapshot_id, in_use)
        app.submit(conn, context, CREATE_BACKUP, args, backend=volume, resource=("backup", made.id))
    return made


def _snapshot(conn: sa.Connection, context: Context, request: CreateBackupRequest, volume: Volume) -> Snapshot | None:
    if request.snapshot_id is None:
        return None
    found = repositories.snapshots.get(conn, request.snapshot_id, owner_scope(context))
    if found.volume_id != volume.id:
        reason = f"it is not a snapshot of volume {volume.id}"
        raise errors.InvalidInput(field="snapshot_id", value=found.id, reason=reason)
    return found


def _parent(
    conn: sa.Connection, context: Context, request: CreateBackupRequest, snapshot: Snapshot | None
) -> Backup | None:
    if not request.incremental:
        return None
    before = snapshot.created_at if snapshot else None
    found = backups.newest(conn, context.project_id, request.volume_id, before)
    if found is None:
        reason = "No backups available to do an incremental backup."
        raise errors.InvalidInput(field="incremental", value=True, reason=reason)
    return found


def _begin_reading(conn: sa.Connection, volume: Volume, *, force: bool) -> bool:
    """Give the volume its status for the time of the backup; whether it is in use."""
    allowed = states.VOLUME["back up"].sources - (set() if force else {"in-use"})
    before = repositories.volumes.get_for_update(conn, volume.id).status
    changes = {"previous_status": before}
    repositories.volumes.transition(conn, volume.id, allowed, "backing-up", action="be backed up", **changes)
    if before != "in-use":
        return False
    backends.check_not_frozen(conn, volume.full_host)
    instant = placement.instant_snapshot(conn, volume.full_host) or placement.instant_clone(conn, volume.full_host)
    if not instant:
        raise errors.Unsupported(reason=NO_DEVICE)
    return True


def _row(
    context: Context, request: CreateBackupRequest, volume: Volume, snapshot: Snapshot | None, parent: Backup | None
) -> Backup:
    now = clock.now()
    taken: datetime = snapshot.created_at if snapshot else now
    return Backup(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        volume_id=volume.id,
        size=snapshot.volume_size if snapshot else volume.size,
        status="creating",
        space=space_of(context.project_id),
        snapshot_id=request.snapshot_id,
        parent_id=parent.id if parent else None,
        name=request.name,
        description=request.description,
        container=request.container,
        data_timestamp=taken,
        metadata=request.metadata,
        created_at=now,
    )


def _locks(args: BackupArgs) -> list[Lock]:
    case = " of a snapshot" if args.snapshot_id else " in use" if args.in_use else ""
    ids = {"volume": args.volume_id, "snapshot": args.snapshot_id}
    return locks(f"backup.create{case}", backup=args.backup_id, **ids)


def _begin(run: Run[BackupArgs]) -> dict[str, str]:
    """Note which store it is, and which key, so that a deletion ends what is begun there; then begin the session, before
    anything of the store is counted on.
    """
    host, row = host_of(run), places.read_backup(run, run.args.backup_id)
    store_id, space = host.vault.store.check(), host.vault.space(row.space)
    mark = "" if space.keys.mark == CLEAR else space.keys.mark.hex()
    with host.database.write() as conn:
        repositories.backups.update(conn, row.id, store_id=store_id, key_mark=mark)
    space.begin_session(row.id, {"host": host.name, "operation": run.id})
    return {"store": store_id}


def _give_up(run: Run[BackupArgs]) -> None:
    """Let nothing of it stay in the store. Where that is away, its session is ended by a later collection."""
    try:
        space = _space(run)
        needed = space.remove_manifest(run.args.backup_id)
        space.end_session(run.args.backup_id)
        collect(space, needed, sessions.sweeper_of(run))
    except (errors.BackendError, errors.BackupDamaged) as error:
        log.warning("what a backup left in the store stays there", backup=run.args.backup_id, reason=str(error))
    journaled_copy.remove_journal(run)


def _space(run: Run[BackupArgs]) -> Space:
    return places.space_of(run, places.read_backup(run, run.args.backup_id))


def _write(run: Run[BackupArgs]) -> dict[str, int]:
    driver, made = backend_of(run).driver, dict[str, int]()
    if isinstance(driver, BackupDriver):
        volume = read_volume_ref(run, run.args.volume_id)
        driver.backup_volume(volume, lambda: made.update(_write_chunks(run)))
        return made
    return _write_chunks(run)


def _write_chunks(run: Run[BackupArgs]) -> dict[str, int]:
    row, space = places.read_backup(run, run.args.backup_id), _space(run)
    if (whole := _found(space, row)) is not None:  # killed before this was recorded
        return {"chunks": len(whole.ids()), "stored": row.stored, "data": 0}
    own, backend = Limit(run.rate), backend_of(run)
    described = {**describe(row), **describe_volume(read_volume(run, row.volume_id))}
    with sources.open(device_location(run)) as source:
        writer = Writer(
            space,
            source,
            parent=_known(run, space, row),
            compress=host_of(run).vault.compress,
            share=LimitShare([own, backend.rate]),
        )
        report = partial(_report, run, own)
        with journaled_copy.stop_as_error(run):
            written = writer.write(row.id, described, report, run.should_stop)
    return {"chunks": written.chunks, "stored": written.stored, "data": written.data}


def _report(run: Run[BackupArgs], own: Limit, done: int, total: int, data: int) -> None:
    run.progress(done, total, "backing up", data)
    if run.rate != own.rate:
        own.rate = run.rate


def _found(space: Space, row: Backup) -> Manifest | None:
    return (
        _quietly(lambda: space.get_manifest(row.id)) if row.id in space.store.names(f"{space.root}/manifests") else None
    )


def _known(run: Run[BackupArgs], space: Space, row: Backup) -> Manifest | None:
    """What the backup builds on, where it is in the same space under the same key: its chunks need not be looked at."""
    if row.parent_id is None:
        return None
    with host_of(run).database.read() as conn:
        parent = repositories.backups.find(conn, row.parent_id)
    if parent is None or (parent.space, parent.key_mark, parent.store_id) != (row.space, row.key_mark, row.store_id):
        return None
    return _quietly(lambda: host_of(run).vault.manifest(space, parent.id))


def _quietly(read: Callable[[], Manifest]) -> Manifest | None:
    """None for a manifest that is damaged: the chunks are then named and looked at one by one."""
    try:
        return read()
    except errors.BackupDamaged as error:
        log.warning("a backup does not build on another one", reason=str(error))
        return None


def _tidy(run: Run[BackupArgs]) -> None:
    """End the session, and free what was waiting for it. The backup is whole: a store that is away now does not change
    that, and a later collection ends the session.
    """
    try:
        space = _space(run)
        space.end_session(run.args.backup_id)
        collect(space, (), sessions.sweeper_of(run))
    except (errors.BackendError, errors.BackupDamaged) as error:
        log.warning("the session of a backup could not be ended", backup=run.args.backup_id, reason=str(error))


def _succeed(conn: sa.Connection, operation: Operation, args: BackupArgs) -> None:
    made: dict[str, Any] = operation.results["write"]
    changes = {"object_count": made["chunks"], "stored": made["stored"], "fail_reason": None}
    transitions.finish_backup(conn, args.backup_id, "creating", "available", **changes)
    _end_reading(conn, args)


def _fail(conn: sa.Connection, _operation: Operation, args: BackupArgs, error: errors.Error) -> None:
    """The volume is as it was: it was only read."""
    reason = error.message_for_user(everything=False)
    transitions.finish_backup(conn, args.backup_id, "creating", "error", fail_reason=reason)
    _end_reading(conn, args)


def _end_reading(conn: sa.Connection, args: BackupArgs) -> None:
    if args.snapshot_id:
        transitions.finish_snapshot(conn, args.snapshot_id, "backing-up", "available")
    else:
        transitions.finish_volume(conn, args.volume_id, "backing-up", states.PREVIOUS)


CREATE_BACKUP = OperationType(
    "backup.create",
    BackupArgs,
    (
        Step("begin", _begin, _give_up),
        Step("device", make_device, remove_device, needed=needs_device),
        Step("write", _write, copies=always),
        Step("remove device", remove_device, needed=needs_device),
        Step("tidy", _tidy),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=False,
    adds=True,
)
