"""The common part of thin and thick volumes: volume groups, LVs with owners, and managing of existing LVs."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from drivers import base
from drivers.base import BaseDriver
from drivers.lvm.commands import COMMAND_SECONDS, Commands
from drivers.lvm.facts import LogicalVolume
from drivers.lvm.pools import LvmPool, MakeCommands
from drivers.lvm.watching import Policy
from nbdsvc import errors, process
from nbdsvc.driver import BackendObject, DriverFacts, Manageable, SnapshotRef, VolumeRef
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import GiB, to_gib

# The default of Cinder's volume_group.
DEFAULT_GROUP = "cinder-volumes"

P = TypeVar("P", bound=LvmPool)


class LvmBase(BaseDriver[P], Generic[P]):
    """A driver whose pools lie in volume groups; docs/lvm.md describes its LVs."""

    facts: DriverFacts

    def __init__(
        self,
        name: str,
        # The folder of file backends; LVM backends do not use it.
        pool: Path | None = None,
        # The volume group; empty: cinder-volumes, or as `pools` say.
        volume_group: str = "",
        # Several pools, by name: GROUP, or GROUP/POOL where volumes are thin.
        pools: Mapping[str, str] | None = None,
        # The pool, or a thick volume's snapshot, is extended when it is this full, by this many per cent; 0: never.
        autoextend_threshold: float = 80.0,
        autoextend_percent: int = 20,
        # Per cent of use at which a pool's metadata is doubled, and at which new volumes are refused.
        metadata_threshold: float = 60.0,
        metadata_refusal: float = 90.0,
        # The only disks that LVM scans; empty: all but guests' disks and LVs.
        devices: Sequence[str] = (),
        # Seconds after which a command is ended.
        command_seconds: float = COMMAND_SECONDS,
        runner: process.Runner | None = None,
        **options: Any,
    ) -> None:
        runner = runner or process.Runner()

        def commands(group: str, label: str) -> Commands:
            return Commands(group, label, runner, devices, command_seconds)

        places = base.pool_names(name, volume_group, pools, "volume_group", DEFAULT_GROUP)
        self._neighbours: frozenset[str] = frozenset()
        super().__init__(name, self._make_pools(name, places, commands), **options)
        self._policy = Policy(autoextend_threshold, autoextend_percent, metadata_threshold, metadata_refusal)

    @abstractmethod
    def _make_pools(self, backend: str, places: Mapping[str, str], commands: MakeCommands) -> dict[str, P]:
        """The pools by name; `places`: GROUP or GROUP/POOL of each."""

    @abstractmethod
    def _grow(self, at: P, name: str, size: int) -> None:
        """Make the LV at least `size` bytes long; new bytes read as zeros."""

    @abstractmethod
    def _reject_reason(self, at: P, found: LogicalVolume) -> str:
        """The reason why an LV cannot become a volume of this driver; empty where it can."""

    @abstractmethod
    def _reject_snapshot_reason(self, at: P, found: LogicalVolume) -> str:
        """The reason why an LV cannot become a snapshot of this driver; empty where it can."""

    # Facts

    def location(self, volume: VolumeRef) -> Location:
        """/dev/GROUP/NAME of the volume's LV, whether it exists or not."""
        return Location.block(self._at(volume.pool).path(names.volume_name(volume.id)))

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """/dev/GROUP/NAME of the snapshot's LV, whether it exists or not."""
        return Location.block(self._at(snapshot.pool).path(names.snapshot_name(snapshot.id)))

    def list_objects(self) -> list[BackendObject]:
        """Every LV of the pools that are there, foreign ones too, but thin pools and the driver's temporary LVs."""
        found, _failed = self._tried(self._list)
        return [each for name in found for each in found[name]]

    def _list(self, name: str, at: P) -> list[BackendObject]:
        found = at.objects.find().values()
        return [at.objects.describe(lv, name) for lv in found if not lv.is_thin_pool and not lv.is_temporary]

    def pool_places(self) -> dict[str, frozenset[str]]:
        """Each pool's group and thin pool, by the group's name and by its uuid."""
        return {name: at.places() for name, at in self._pools.items()}

    def storage_identities(self) -> dict[str, str]:
        """Unsupported: LVM without lvmlockd has no lock between hosts."""
        reason = (
            f"backend {self.name} is a volume group, and LVM without lvmlockd lets one host change it: two would overwrite "
            "each other's metadata, and a thin pool that is active on two is lost"
        )
        raise errors.Unsupported(reason=reason)

    def set_neighbours(self, places: frozenset[str]) -> None:
        """See NeighbourDriver. Other backends may have thin pools of the same group, or its thick volumes."""
        self._neighbours = places

    def _is_neighbours(self, group: str, found: LogicalVolume) -> bool:
        """Whether an LV of the group lies in a pool of another backend: in its thin pool, or is a thick one of its group."""
        thin_pool = found.name if found.is_thin_pool else found.pool
        return f"lvm {group}/{thin_pool}".rstrip("/") in self._neighbours

    # Volumes

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Extend the LV. BackendUnavailable where it does not exist."""
        self._grow(self._at(volume.pool), names.volume_name(volume.id), new_size)

    # Taking over

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> None:
        """See Driver.manage_existing. Tags the LV with its owner, then renames and activates it."""
        base.check_type(volume, thin=self.facts.thin)
        at, name = self._at(volume.pool), names.volume_name(volume.id)
        if at.objects.adopt(name, ref, owner, partial(self._reject_reason, at)).size < volume.size:
            self._grow(at, name, volume.size)

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """Bytes of the LV's device, rounded up to whole GiB. InvalidInput where there is no such LV."""
        return to_gib(self._at(volume.pool).objects.size_of(names.volume_name(volume.id), ref)) * GiB

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """Remove the owner's tag from the LV."""
        self._at(volume.pool).objects.release(names.volume_name(volume.id), owner, ref)

    def get_manageable_volumes(self, pool: str | None = None) -> list[Manageable]:
        """The LVs that are volumes, and foreign LVs, with the reason where one cannot be managed."""
        return self._manageable("volume", pool, self._reject_reason)

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> None:
        """See `manage_existing`. InvalidInput for an LV that is no snapshot of the volume's LV."""
        at, name = self._at(snapshot.pool), names.snapshot_name(snapshot.id)
        origin = names.volume_name(snapshot.volume_id)

        def reject_reason(found: LogicalVolume) -> str:
            return self._reject_snapshot_reason(at, found) or (
                "" if found.origin == origin else f"it is no snapshot of {origin}"
            )

        taken = at.objects.adopt(name, ref, owner, reject_reason)
        if taken.virtual_size < snapshot.size and not taken.is_classic_snapshot:
            self._grow(at, name, snapshot.size)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """Bytes that the snapshot reads as, rounded up to whole GiB. InvalidInput where there is no such LV."""
        return to_gib(self._at(snapshot.pool).objects.size_of(names.snapshot_name(snapshot.id), ref)) * GiB

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """Remove the owner's tag from the snapshot's LV."""
        self._at(snapshot.pool).objects.release(names.snapshot_name(snapshot.id), owner, ref)

    def get_manageable_snapshots(self, pool: str | None = None) -> list[Manageable]:
        """The LVs that are snapshots of this backend's volumes, with the reason where one cannot be managed."""
        return self._manageable("snapshot", pool, self._reject_snapshot_reason)

    def _manageable(
        self, kind: str, pool: str | None, reject_reason: Callable[[P, LogicalVolume], str]
    ) -> list[Manageable]:
        def look(name: str, at: P) -> list[Manageable]:
            return at.objects.manageable(kind, name, partial(reject_reason, at))

        found, _failed = self._tried(look, pool)
        return [each for listed in found.values() for each in listed]


def chosen(option: str, value: str, known: Sequence[str]) -> str:
    """The option's value; ConfigError where it is none of `known`, by the option's name: compose.py has its table's."""
    if value not in known:
        raise errors.ConfigError(setting=option, reason=f"must be one of {', '.join(known)}")
    return value
