"""The rows of an operation, and the references that a driver gets for them: sizes in bytes, where rows have GiB."""

from typing import Any

import sqlalchemy as sa

from nbdsvc.driver import ProviderState, SnapshotRef, VolumeRef
from nbdsvc.host import host_of
from nbdsvc.model.entities import Move, Snapshot, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import repositories
from nbdsvc.store.repository import Repository
from nbdsvc.units import GiB


def read_volume(run: Run[Any], id: str) -> Volume:
    """The present row of the volume. Raises NotFound."""
    with host_of(run).database.read() as conn:
        return repositories.volumes.get(conn, id)


def read_snapshot(run: Run[Any], id: str) -> Snapshot:
    """The present row of the snapshot. Raises NotFound."""
    with host_of(run).database.read() as conn:
        return repositories.snapshots.get(conn, id)


def read_volume_ref(run: Run[Any], id: str) -> VolumeRef:
    """The driver's reference of the volume, with the extra specs of its type. Raises NotFound, and BackendUnavailable where
    another host serves it.
    """
    with host_of(run).database.read() as conn:
        volume = repositories.volumes.get(conn, id)
        host_of(run).check_own(volume)
        return volume_ref(conn, volume)


def read_snapshot_ref(run: Run[Any], id: str) -> SnapshotRef:
    """The driver's reference of the snapshot, with the pool of its volume. Errors as of read_volume_ref."""
    with host_of(run).database.read() as conn:
        snapshot = repositories.snapshots.get(conn, id)
        volume = repositories.volumes.get(conn, snapshot.volume_id)
        host_of(run).check_own(volume)
        return snapshot_ref(snapshot, volume)


def volume_ref(conn: sa.Connection, volume: Volume) -> VolumeRef:
    """The driver's reference of a volume, with the present extra specs of its type; without a type, with none."""
    found = repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None
    specs = found.extra_specs if found else {}
    return VolumeRef(volume.id, volume.size * GiB, volume.pool, specs, state_of(volume))


def snapshot_ref(snapshot: Snapshot, volume: Volume) -> SnapshotRef:
    """The driver's reference of a snapshot of this volume, which is in the same pool."""
    size = snapshot.volume_size * GiB
    return SnapshotRef(snapshot.id, volume.id, size, volume.pool, state_of(snapshot), state_of(volume))


def left_ref(move: Move) -> VolumeRef:
    """A reference of the object at the second place of a moved volume, to remove it; the volume may be deleted."""
    return VolumeRef(move.id, move.size * GiB, move.pool, {}, state_of(move))


def temporary_volume_ref(id: str, volume: VolumeRef, state: ProviderState | None) -> VolumeRef:
    """A reference of a clone of the volume that has no row, and this id."""
    return VolumeRef(id, volume.size, volume.pool, volume.extra_specs, state)


def temporary_snapshot_ref(id: str, volume: VolumeRef, state: ProviderState | None) -> SnapshotRef:
    """A reference of a snapshot of the volume that has no row, and this id."""
    return SnapshotRef(id, volume.id, volume.size, volume.pool, state, volume.state)


def state_of(row: Volume | Snapshot | Move) -> ProviderState | None:
    """The state that the driver returned for this object; None when it returned none."""
    replication = _replication_of(row) if isinstance(row, Volume) and row.replication_status else None
    state = ProviderState(row.provider_id, row.provider_location, row.driver_data, replication)
    return None if state == ProviderState() else state


def _replication_of(row: Volume) -> dict[str, str | None]:
    return {
        "replication_status": row.replication_status,
        "replication_extended_status": row.replication_extended_status,
        "replication_driver_data": row.replication_driver_data,
    }


def keep_state(run: Run[Any], rows: Repository[Any], id: str, state: ProviderState | None) -> None:
    """Store the state that a driver returned for a new object in its row, before the step ends and the next one needs
    it.

    A step that is killed before this is run again, and the driver returns the same state.
    """
    if state is not None:
        with host_of(run).database.write() as conn:
            rows.update(conn, id, **state.columns())
