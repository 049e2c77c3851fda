"""The protocols of snapshots: of drivers that have them, and of those that also clone and revert without a copy."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.state import ProviderState
from nbdsvc.location import Location


@runtime_checkable
class SnapshotDriver(Protocol):
    """A driver whose volumes have snapshots (S094). Without CloneDriver, volumes are made of them by a copy."""

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """A point in time of the volume: what was written before this call, nothing that is written after it.

        Where the storage shares no blocks: an object of `snapshot.size` zeros, which the service then fills.
        """

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove it; volumes made of it stay whole."""

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """Where the snapshot's bytes are, as Driver.location of a volume's. To be read, and written only to fill it."""


@runtime_checkable
class CloneDriver(Protocol):
    """A driver that clones at once, also a volume in use (S066). Without it the service copies what is not in use."""

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """A volume with the source's bytes, grown to `volume.size`."""

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """A volume with the snapshot's bytes, grown to `volume.size`. Called of a SnapshotDriver only."""


@runtime_checkable
class RevertDriver(Protocol):
    """A driver that reverts at once. Without it the service writes what differs; either way it needs SnapshotDriver."""

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Give a volume that is not in use the bytes of its snapshot again: all of its bytes, or none."""
