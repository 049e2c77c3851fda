"""What a backup reads: the volume, a snapshot, or for a volume in use something that is there as long as the backup is made.

That temporary object has the id of the backup, so that it is known whose it is after a crash.
"""

from typing import Any

from nbdsvc import errors
from nbdsvc.backups.arguments import BackupArgs
from nbdsvc.driver import BackupDriver, ProviderState, SnapshotRef, VolumeRef
from nbdsvc.host import Backend, backend_of, host_of
from nbdsvc.location import Location
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import read_snapshot_ref, read_volume_ref, temporary_snapshot_ref, temporary_volume_ref

SNAPSHOT, CLONE = "snapshot", "clone"
# Why a volume in use cannot be backed up, to a request, and to an operation whose backend can do less by then.
NO_DEVICE = "this backend takes neither a snapshot nor a clone of a volume while it is in use"


def needs_device(run: Run[BackupArgs]) -> bool:
    """Whether the backup needs a temporary object."""
    return run.args.in_use


def make_device(run: Run[BackupArgs]) -> dict[str, Any] | None:
    """Make the temporary object of a volume in use: its kind, and the state that the driver returned. None without one."""
    if not run.args.in_use:
        return None
    backend = backend_of(run)
    kind = _kind(run, backend)
    volume = read_volume_ref(run, run.args.volume_id)
    if kind == SNAPSHOT:
        state = backend.snapshots().create_snapshot(_snapshot(run, volume, None), run.id)
    else:
        state = backend.clones().create_cloned_volume(_clone(run, volume, None), volume, run.id)
    return {"kind": kind, "state": state.columns() if state else None}


def remove_device(run: Run[BackupArgs]) -> None:
    """Remove the temporary object; one that is not there is removed. Its kind may not have been recorded."""
    if not run.args.in_use:
        return
    backend, volume = backend_of(run), read_volume_ref(run, run.args.volume_id)
    made = run.results.get("device") or {}
    kind, state = made.get("kind") or _kind(run, backend), _state(made)
    if kind == SNAPSHOT:
        backend.snapshots().delete_snapshot(_snapshot(run, volume, state))
    else:
        backend.driver.delete_volume(_clone(run, volume, state))


def device_location(run: Run[BackupArgs]) -> Location:
    """Where the bytes are that the backup reads; a BackupDriver may name another place."""
    backend, args = backend_of(run), run.args
    volume, snapshot = read_volume_ref(run, args.volume_id), None
    if args.snapshot_id:
        snapshot = read_snapshot_ref(run, args.snapshot_id)
    elif args.in_use:
        made = run.results["device"]
        if made["kind"] == CLONE:
            volume = _clone(run, volume, _state(made))
        else:
            snapshot = _snapshot(run, volume, _state(made))
    if isinstance(backend.driver, BackupDriver):
        return backend.driver.get_backup_device(volume, snapshot)[0]
    return backend.snapshots().snapshot_location(snapshot) if snapshot else backend.driver.location(volume)


def _kind(run: Run[BackupArgs], backend: Backend) -> str:
    """By the setting, where the backend can do that without a copy; else the other way."""
    wanted = (SNAPSHOT, CLONE) if host_of(run).backup_by_snapshot else (CLONE, SNAPSHOT)
    able = {SNAPSHOT: backend.able.instant_snapshot, CLONE: backend.able.instant_clone}
    for kind in wanted:
        if able[kind]:
            return kind
    raise errors.Unsupported(reason=NO_DEVICE)


def _snapshot(run: Run[BackupArgs], volume: VolumeRef, state: ProviderState | None) -> SnapshotRef:
    return temporary_snapshot_ref(run.args.backup_id, volume, state)


def _clone(run: Run[BackupArgs], volume: VolumeRef, state: ProviderState | None) -> VolumeRef:
    return temporary_volume_ref(run.args.backup_id, volume, state)


def _state(made: dict[str, Any]) -> ProviderState | None:
    columns = made.get("state")
    names = ("provider_id", "provider_location", "driver_data")
    return ProviderState(**{name: columns.get(name) for name in names}) if columns else None
