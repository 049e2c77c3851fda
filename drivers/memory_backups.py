"""How the simulator takes part in backups: as a driver that prepares nothing, with faults."""

from collections.abc import Callable

from drivers.faults import Faults, faulty
from nbdsvc.driver import SnapshotRef, VolumeRef
from nbdsvc.location import Location


class SimulatedBackups:
    """A part of the simulator."""

    faults: Faults
    location: Callable[[VolumeRef], Location]
    snapshot_location: Callable[[SnapshotRef], Location]

    def get_backup_device(self, volume: VolumeRef, snapshot: SnapshotRef | None) -> tuple[Location, bool]:
        """See BackupDriver.get_backup_device: the snapshot where there is one."""
        if snapshot is not None:
            return self.snapshot_location(snapshot), True
        return self.location(volume), False

    @faulty
    def backup_volume(self, volume: VolumeRef, backup: Callable[[], None]) -> None:
        """See BackupDriver.backup_volume; the planned faults come first and last."""
        backup()

    @faulty
    def restore_backup(self, volume: VolumeRef, restore: Callable[[], None]) -> None:
        """See BackupDriver.restore_backup; the planned faults come first and last."""
        restore()
