"""The protocol of a driver that takes part in backups (S076)."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.location import Location


@runtime_checkable
class BackupDriver(Protocol):
    """A driver that prepares what is backed up, or a volume that is restored. Without it the service does that alone.

    The service makes the snapshot or clone of a volume in use, and removes it again.
    """

    def get_backup_device(self, volume: VolumeRef, snapshot: SnapshotRef | None) -> tuple[Location, bool]:
        """The location that the service reads, and whether it is a snapshot's. snapshot: None for a volume that is not in
        use, and for the clone of one that is.
        """

    def backup_volume(self, volume: VolumeRef, backup: Callable[[], None]) -> None:
        """Called to make the backup: call `backup` once, which reads the device. What is done before it may be undone
        after it, whatever happens; called again after a crash.
        """

    def restore_backup(self, volume: VolumeRef, restore: Callable[[], None]) -> None:
        """Called to fill the volume: call `restore` once, which writes to its location. As `backup_volume`."""
