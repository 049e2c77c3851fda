"""The protocols of managing existing objects (S097-S100). `ref` is the client's reference, unchanged."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.objects import Manageable
from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.state import ProviderState


@runtime_checkable
class ManageDriver(Protocol):
    """A driver that can manage existing objects as volumes, and unmanage volumes."""

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """Make the object that `ref` names the object of `volume`, grown to `volume.size` bytes; its content stays.

        Raises InvalidInput for a reference without an object, or whose object does not fit the backend or the volume's
        type; Conflict for an object that is managed already; DeviceBusy while the object is open.
        """

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """The size of the object that `ref` names, in bytes, rounded up to whole GiB."""

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """Remove the volume's marks from its object, which keeps its bytes and name. No error without an object.

        As the undo of manage_existing: only an object with this `owner`, which gets the name in `ref` again.
        """

    def get_manageable_volumes(self, pool: str | None = None) -> list[Manageable]:
        """Every object of this pool, or of all pools, that is a volume or could become one, also managed ones."""


@runtime_checkable
class ManageSnapshotDriver(Protocol):
    """A driver that can manage existing objects as snapshots, and unmanage snapshots. It needs SnapshotDriver."""

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See ManageDriver.manage_existing. Raises InvalidInput for a snapshot of another volume."""

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """See ManageDriver.manage_existing_get_size."""

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """See ManageDriver.unmanage."""

    def get_manageable_snapshots(self, pool: str | None = None) -> list[Manageable]:
        """Every object of this pool, or of all pools, that is a snapshot of a volume or could become one."""
