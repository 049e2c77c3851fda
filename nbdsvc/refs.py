"""The rows of an operation, and what a driver gets to know of them: sizes in bytes, where rows have GiB."""

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
    """The volume's row as it is now. NotFound."""
    with host_of(run).database.read() as conn:
        return repositories.volumes.get(conn, id)


def read_snapshot(run: Run[Any], id: str) -> Snapshot:
    """The snapshot's row as it is now. NotFound."""
    with host_of(run).database.read() as conn:
        return repositories.snapshots.get(conn, id)


def read_volume_ref(run: Run[Any], id: str) -> VolumeRef:
    """The volume as its driver gets it, with the extra specs of its type. NotFound."""
    with host_of(run).database.read() as conn:
        return volume_ref(conn, repositories.volumes.get(conn, id))


def read_snapshot_ref(run: Run[Any], id: str) -> SnapshotRef:
    """The snapshot as its driver gets it, with the pool of its volume. NotFound."""
    with host_of(run).database.read() as conn:
        snapshot = repositories.snapshots.get(conn, id)
        return snapshot_ref(snapshot, repositories.volumes.get(conn, snapshot.volume_id))


def volume_ref(conn: sa.Connection, volume: Volume) -> VolumeRef:
    """A volume with its pool, and the extra specs of its type as they are now; one without a type has none."""
    found = repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None
    specs = found.extra_specs if found else {}
    return VolumeRef(volume.id, volume.size * GiB, volume.pool, specs, state_of(volume))


def snapshot_ref(snapshot: Snapshot, volume: Volume) -> SnapshotRef:
    """A snapshot of this volume, which is in the same pool."""
    size = snapshot.volume_size * GiB
    return SnapshotRef(snapshot.id, volume.id, size, volume.pool, state_of(snapshot), state_of(volume))


def left_ref(move: Move) -> VolumeRef:
    """What a move has left at the second place of a volume, which may be deleted by now: enough to remove it."""
    return VolumeRef(move.id, move.size * GiB, move.pool, {}, state_of(move))


def state_of(row: Volume | Snapshot | Move) -> ProviderState | None:
    """What the driver returned for this object; None where it returned nothing."""
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
    """Write what a driver returned for a new object into its row, before the step ends: the next step works on the object.

    A step that is killed before this is run again, and its driver returns the same.
    """
    if state is not None:
        with host_of(run).database.write() as conn:
            rows.update(conn, id, **state.columns())
