"""The rows of an operation as a driver gets to know them: sizes in bytes, where rows have GiB."""

from nbdsvc.driver import SnapshotRef, VolumeRef
from nbdsvc.manager.app import host_of
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.operations.step import Run
from nbdsvc.store import nouns
from nbdsvc.units import GiB


def volume_ref(volume: Volume, size: int | None = None, extra_specs: dict[str, str] | None = None) -> VolumeRef:
    """The driver's view of a volume. size: GiB, where it is not the row's."""
    return VolumeRef(volume.id, (size or volume.size) * GiB, extra_specs or {})


def snapshot_ref(snapshot: Snapshot) -> SnapshotRef:
    """The driver's view of a snapshot."""
    return SnapshotRef(snapshot.id, snapshot.volume_id, snapshot.volume_size * GiB)


def volume_of(run: Run, key: str = "volume_id") -> Volume:
    """The volume that the argument `key` of the operation names, as its row is now. NotFound when the row is gone."""
    with host_of(run).database.read() as conn:
        return nouns.volumes.get(conn, run.args[key])


def snapshot_of(run: Run, key: str = "snapshot_id") -> Snapshot:
    """The same for a snapshot."""
    with host_of(run).database.read() as conn:
        return nouns.snapshots.get(conn, run.args[key])
