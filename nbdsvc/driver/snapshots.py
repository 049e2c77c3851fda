"""The protocols of snapshots, and of clones and reverts without a copy."""

from collections.abc import Sequence
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
class ConsistentSnapshotDriver(Protocol):
    """A SnapshotDriver that takes snapshots of several volumes at one moment, whatever is written to them meanwhile and by
    which transport: of the writes that have reached the storage, none that began after another's end is there without it.

    The three methods are called one after the other. After an error, or a kill, `delete_snapshot` is called for each
    snapshot, and then all three again.
    """

    def prepare_snapshots(self, snapshots: Sequence[SnapshotRef], owner: str) -> Sequence[ProviderState | None]:
        """Make the objects, while writers go on; their bytes do not matter. Returns as often as create_snapshot would."""

    def take_snapshots(self, snapshots: Sequence[SnapshotRef]) -> float:
        """Let the prepared snapshots be of one moment, which is within this call. Returns for how many seconds writers had to
        wait.
        """

    def finish_snapshots(self, snapshots: Sequence[SnapshotRef]) -> None:
        """Do what is left to do, while writers go on: after this, each is as create_snapshot would have left it."""


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
