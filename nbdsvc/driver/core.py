"""The interface that a driver implements. The rules that every method keeps are in the docstring of nbdsvc.driver."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from nbdsvc.driver.capabilities import Capabilities
from nbdsvc.driver.objects import BackendObject, Manageable
from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.stats import PoolStats


@runtime_checkable
class Driver(Protocol):
    """A volume backend. `name` is the backend's name in `host@backend#pool`."""

    name: str
    VERSION: str

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do. Constant after `do_setup`."""

    # Start (S061, S062, S021)

    def do_setup(self) -> None:
        """Make what the backend needs. Idempotent."""

    def check_for_setup_error(self) -> None:
        """Raise ConfigError or BackendUnavailable when the backend cannot serve; called before each use of a sick one."""

    def get_version(self) -> str:
        """The driver's VERSION."""

    # Facts (S063, S078-S080)

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """The pools' statistics, measured anew with `refresh`."""

    def get_pool(self, volume: VolumeRef) -> str:
        """Name of the pool that holds the volume."""

    def get_filter_function(self) -> str | None:
        """The scheduler's filter expression; None passes always (S078)."""

    def get_goodness_function(self) -> str | None:
        """The scheduler's goodness expression; None scores 0 (S078)."""

    def local_path(self, volume: VolumeRef) -> Path:
        """Path of the volume's block device or file on this host (S093)."""

    def snapshot_path(self, snapshot: SnapshotRef) -> Path:
        """The same for a snapshot, to be read only."""

    def list_objects(self) -> list[BackendObject]:
        """Every object in the pool, so that objects without a row, and rows without an object, can be found."""

    def check_room(self, needed: int) -> None:
        """OutOfSpace when writing `needed` bytes into volumes would overrun the pool."""

    def watch(self) -> None:
        """Called at every report: grow what runs full, wake what sleeps, warn of what cannot be mended."""

    # Volumes (S064-S066, S092)

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        """A volume of `volume.size` bytes that reads as zeros."""

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove it. DeviceBusy while a snapshot needs it."""

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow to `new_size` bytes, also while exported; new bytes read as zeros. Never shrinks (S092)."""

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        """A volume with the source's bytes, grown to `volume.size` (S066). Only with `instant_clone`."""

    # Snapshots (S094)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """A point in time of the volume: what was written before this call, nothing that is written after it.

        Where neither clones nor snapshots are instant: an object of `snapshot.size` zeros, which the manager then fills.
        """

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove it; volumes made of it stay whole."""

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """A volume with the snapshot's bytes, grown to `volume.size`. Only with `instant_clone`."""

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Give a volume that is not in use all bytes of its snapshot again, or none. Only with `instant_clone`."""

    # Taking over what exists (S097-S100). `ref` is what the client gave, passed through as it is.

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> None:
        """Give the object that `ref` names to `volume`, grown to `volume.size`; its bytes stay.

        InvalidInput for a reference that names nothing, or whose object does not fit the backend or the volume's type;
        Conflict for one that is managed already; DeviceBusy while it is open.
        """

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """Bytes of the object that `ref` names, rounded up to whole GiB."""

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """Let go of the volume's object, which stays, under its name. Not there: success.

        As the undo of manage_existing: only of what has this `owner`, and back under the name in `ref`.
        """

    def get_manageable_volumes(self) -> list[Manageable]:
        """Every object that is a volume or could become one, managed ones too."""

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> None:
        """The same for a snapshot of an existing volume. InvalidInput for an object that is another volume's."""

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """The same for a snapshot."""

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """The same for a snapshot."""

    def get_manageable_snapshots(self) -> list[Manageable]:
        """Every object that is a snapshot of a volume or could become one."""
