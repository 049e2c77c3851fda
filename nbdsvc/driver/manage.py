"""The protocols of taking over what exists (S097-S100). `ref` is what the client gave, passed through as it is."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.objects import Manageable
from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.state import ProviderState


@runtime_checkable
class ManageDriver(Protocol):
    """A driver that makes volumes of existing objects, and lets go of volumes."""

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> ProviderState | None:
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

    def get_manageable_volumes(self, pool: str | None = None) -> list[Manageable]:
        """Every object of this pool, or of all, that is a volume or could become one, managed ones too."""


@runtime_checkable
class ManageSnapshotDriver(Protocol):
    """A driver that makes snapshots of existing objects, and unmanages them. It needs SnapshotDriver."""

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See ManageDriver.manage_existing. InvalidInput for an object that is another volume's."""

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """See ManageDriver.manage_existing_get_size."""

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """See ManageDriver.unmanage."""

    def get_manageable_snapshots(self, pool: str | None = None) -> list[Manageable]:
        """Every object of this pool, or of all, that is a snapshot of a volume or could become one."""
