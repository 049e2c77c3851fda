"""The rows of an operation, and what a driver gets to know of them: sizes in bytes, where rows have GiB."""

from typing import Any

import sqlalchemy as sa

from nbdsvc.driver import SnapshotRef, VolumeRef
from nbdsvc.host import host_of
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import repositories
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
        return typed_ref(conn, repositories.volumes.get(conn, id))


def read_snapshot_ref(run: Run[Any], id: str) -> SnapshotRef:
    """The snapshot as its driver gets it. NotFound."""
    return snapshot_ref(read_snapshot(run, id))


def typed_ref(conn: sa.Connection, volume: Volume) -> VolumeRef:
    """A volume with the extra specs of its type, as they are now; one without a type has none."""
    found = repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None
    return volume_ref(volume, extra_specs=found.extra_specs if found else None)


def volume_ref(volume: Volume, size: int | None = None, extra_specs: dict[str, str] | None = None) -> VolumeRef:
    """The driver's view of a volume. size: GiB, where it is not the row's."""
    return VolumeRef(volume.id, (size or volume.size) * GiB, extra_specs or {})


def snapshot_ref(snapshot: Snapshot) -> SnapshotRef:
    """The driver's view of a snapshot."""
    return SnapshotRef(snapshot.id, snapshot.volume_id, snapshot.volume_size * GiB)
