"""The protocols of snapshots, and of clones and reverts without a copy."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.state import ProviderState
from nbdsvc.location import Location


@runtime_checkable
class SnapshotDriver(Protocol):
    """A driver whose volumes have snapshots (S094). Without CloneDriver, the service makes volumes of them by copy."""

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """Make a snapshot, which has all writes from before this call and none from after the call's return.

        Where the storage cannot share blocks: an object of `snapshot.size` zeros, which the service then fills.
        """

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove the snapshot; volumes that were made of it keep all their bytes."""

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """The location of the snapshot's bytes, see Driver.location. They are written only to fill the snapshot."""


@runtime_checkable
class CloneDriver(Protocol):
    """A driver that clones at once, also a volume in use (S066). Otherwise the service copies volumes not in use."""

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """Make a volume with the source's bytes, grown to `volume.size` bytes."""

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """Make a volume with the snapshot's bytes, grown to `volume.size` bytes. Called only on a SnapshotDriver."""


@runtime_checkable
class RevertDriver(Protocol):
    """A SnapshotDriver that reverts at once. Otherwise the service writes the blocks that differ."""

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Revert an unused volume to its snapshot, completely or not at all."""
