"""The simulator: a backend whose capacity, abilities, delays and faults are what the test says.

Bytes are real, because exports serve paths: they live as sparse files in a folder, preferably on tmpfs, and survive the
service like those of any backend. Simulated are: the pool's capacity, instant clones (a plain copy behaves like one,
except for the time that it takes), and faults. See drivers/faults.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from drivers.copying_pool import CopyingPool
from drivers.faults import Faults, faulty
from drivers.file import FileDriver
from drivers.memory_backups import SimulatedBackups
from drivers.memory_reports import SimulatedReports
from drivers.pool import PoolFolder
from drivers.provider_ids import ProviderIds
from nbdsvc import errors
from nbdsvc.driver import (
    LIMITLESS,
    BackendObject,
    Capacity,
    DriverFacts,
    Manageable,
    PoolStats,
    ProviderState,
    ProviderUpdate,
    SnapshotRef,
    VolumeRef,
)
from nbdsvc.driver.migrate import Remote
from nbdsvc.location import Location
from nbdsvc.units import GiB

__all__ = ["Faults", "MemoryDriver", "faulty"]


class MemoryDriver(SimulatedBackups, SimulatedReports, FileDriver):
    """The contract of nbdsvc/driver/, simulated. `capacity` in bytes, "infinite" or "unknown": of each pool, or by pool.
    `provider_ids`: objects have ids of its own making. `vendor`: it has a property of this vendor. `moves_volumes`: between
    its pools without a copy. `clones_images`: of raw files of this host, by itself.
    """

    def __init__(
        self,
        name: str,
        pool: Path | None = None,
        capacity: Capacity | Mapping[str, Capacity] = 1000 * GiB,
        instant_clone: bool = True,
        provider_ids: bool = False,
        default_filter_function: str | None = None,
        default_goodness_function: str | None = None,
        vendor: str | None = None,
        moves_volumes: bool = True,
        clones_images: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, pool, **kwargs)
        self._capacity = capacity if isinstance(capacity, Mapping) else dict.fromkeys(self._pools, capacity)
        if any(isinstance(each, str) and each not in LIMITLESS for each in self._capacity.values()):
            raise errors.ConfigError(setting="capacity", reason=f"must be bytes, {' or '.join(LIMITLESS)}")
        self._shares = instant_clone
        self._defaults, self.vendor = (default_filter_function, default_goodness_function), vendor
        self._moves, self._clones_images = moves_volumes, clones_images
        first = next(iter(self._pools.values())).folder
        self.faults = Faults(first, name)
        self._frozen = first / "frozen"
        self._ids = ProviderIds(first / "provider-ids", name, used=provider_ids)

    def _make_pool(self, name: str, folder: Path) -> PoolFolder:
        return CopyingPool(name, folder)

    @property
    def facts(self) -> DriverFacts:
        """Thin; blocks are shared as the constructor's `instant_clone` says."""
        return DriverFacts(thin=True, shares_blocks=self._shares, clones_images=self._clones_images)

    @faulty
    def do_setup(self) -> None:
        """See FileDriver.do_setup; the planned faults come first and last."""
        super().do_setup()

    @faulty
    def check_for_setup_error(self) -> None:
        """See FileDriver.check_for_setup_error; the planned faults come first and last."""
        super().check_for_setup_error()

    @faulty
    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """See BaseDriver.get_volume_stats; total and free bytes are those of the simulated capacity."""
        return super().get_volume_stats(refresh)

    @faulty
    def create_volume(self, volume: VolumeRef, owner: str) -> ProviderState | None:
        """See FileDriver.create_volume; the planned faults come first and last."""
        return super().create_volume(self._ids.to_make(volume), owner)

    @faulty
    def delete_volume(self, volume: VolumeRef) -> None:
        """See FileDriver.delete_volume; the planned faults come first and last."""
        removed = self._ids.to_remove(volume)
        super().delete_volume(removed)
        # A volume that is moved by a copy has an object of this id in two pools, until the one at the source is removed.
        if all(found.id != removed.id for found in super().list_objects()):
            self._ids.forget(volume)

    @faulty
    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """See FileDriver.extend_volume; the planned faults come first and last."""
        super().extend_volume(self._ids.to_use(volume), new_size)

    @faulty
    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """See FileDriver.create_cloned_volume; the planned faults come first and last."""
        return super().create_cloned_volume(self._ids.to_make(volume), self._ids.to_use(source), owner)

    @faulty
    def clone_image(
        self, volume: VolumeRef, image_location: str, image_id: str | None, image_meta: Mapping[str, Any], owner: str
    ) -> tuple[ProviderState | None, bool]:
        """See CloneImageDriver: the file of a raw image of this host, with `clones_images`."""
        file = image_location.removeprefix("file://")
        if file == image_location or image_meta["disk_format"] != "raw":
            return None, False
        made = self._ids.to_make(volume)
        self._share(self._at(made.pool), self._volume_path(made), made.size, owner, Path(unquote(file)))
        return self._state(made), True

    @faulty
    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """See FileDriver.create_snapshot; the planned faults come first and last."""
        return super().create_snapshot(self._ids.to_make(self._ids.of_volume(snapshot)), owner)

    @faulty
    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """See FileDriver.delete_snapshot; the planned faults come first and last."""
        super().delete_snapshot(self._ids.to_remove(snapshot))
        self._ids.forget(snapshot)

    @faulty
    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """See FileDriver.create_volume_from_snapshot; the planned faults come first and last."""
        return super().create_volume_from_snapshot(self._ids.to_make(volume), self._ids.to_use(snapshot), owner)

    @faulty
    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """See FileDriver.revert_to_snapshot; the planned faults come first and last."""
        super().revert_to_snapshot(self._ids.to_use(volume), self._ids.to_use(snapshot), owner)

    @faulty
    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See FileDriver.manage_existing; the planned faults come first and last."""
        return super().manage_existing(self._ids.to_make(volume), ref, owner)

    @faulty
    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """See FileDriver.unmanage; the planned faults come first and last."""
        super().unmanage(self._ids.to_remove(volume), owner, ref)
        self._ids.forget(volume)

    @faulty
    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See FileDriver.manage_existing_snapshot; the planned faults come first and last."""
        return super().manage_existing_snapshot(self._ids.to_make(self._ids.of_volume(snapshot)), ref, owner)

    @faulty
    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """See FileDriver.unmanage_snapshot; the planned faults come first and last."""
        super().unmanage_snapshot(self._ids.to_remove(snapshot), owner, ref)
        self._ids.forget(snapshot)

    @faulty
    def initialize_connection(
        self, volume: VolumeRef, connector: Mapping[str, Any], initiator_data: Mapping[str, str] | None
    ) -> Mapping[str, Any] | None:
        """Keeps the initiator's host with it, as an array does that makes an entry for each host. Plan `returns` for more."""
        host = connector.get("host")
        if initiator_data is None or not host or initiator_data.get("host") == host:
            return None
        return {"initiator_updates": {"set_values": {"host": str(host)}}}

    @faulty
    def update_provider_info(
        self, volumes: Sequence[VolumeRef], snapshots: Sequence[SnapshotRef]
    ) -> tuple[Sequence[ProviderUpdate], Sequence[ProviderUpdate]]:
        """The ids that it noted of these objects; nothing without `provider_ids`."""
        return self._ids.updates(volumes), self._ids.updates(snapshots)

    @faulty
    def secure_file_operations_enabled(self) -> bool:
        """Its files are used by the user that they belong to."""
        return True

    @faulty
    def freeze_backend(self) -> bool:
        """Leave a file `frozen` in the first pool's folder; the planned faults come first and last."""
        self._frozen.touch()
        return True

    @faulty
    def thaw_backend(self) -> bool:
        """Remove the file of freeze_backend; the planned faults come first and last."""
        self._frozen.unlink(missing_ok=True)
        return True

    @faulty
    def migrate_volume(self, volume: VolumeRef, destination: VolumeRef) -> tuple[bool, ProviderState | None]:
        """See FileDriver.migrate_volume; the planned faults come first and last. (False, None) without `moves_volumes`."""
        return super().migrate_volume(self._ids.to_use(volume), destination) if self._moves else (False, None)

    @faulty
    def before_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Note that a copy is under way, in `copying/` of the pool of what is here."""
        for pool, ref in self._here(source, destination, remote):
            (pool / "copying").mkdir(exist_ok=True)
            (pool / "copying" / ref.id).touch()

    @faulty
    def after_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Remove the note."""
        for pool, ref in self._here(source, destination, remote):
            (pool / "copying" / ref.id).unlink(missing_ok=True)

    @faulty
    def update_migrated_volume(self, volume: VolumeRef, source: VolumeRef) -> ProviderState | None:
        """Keep the pool that the volume was in; its provider id stays."""
        kept = volume.state or ProviderState()
        return replace(kept, driver_data={"migrated_from": source.pool})

    @faulty
    def accept_transfer(self, volume: VolumeRef, new_user: str, new_project: str) -> ProviderState | None:
        """Keep whose the volume is, as an array does that has CHAP credentials by project."""
        kept = volume.state or ProviderState()
        return replace(kept, driver_data={**(kept.driver_data or {}), "owner": [new_project, new_user]})

    def _here(
        self, source: VolumeRef, destination: VolumeRef, remote: Remote | None
    ) -> Iterator[tuple[Path, VolumeRef]]:
        for end, ref in (("src", source), ("dest", destination)):
            if end != remote:
                yield self._at(ref.pool).folder, ref

    # No faults are simulated in these; they only translate ids.

    def location(self, volume: VolumeRef) -> Location:
        """See FileDriver.location."""
        return super().location(self._ids.to_use(volume))

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """See FileDriver.snapshot_location."""
        return super().snapshot_location(self._ids.to_use(snapshot))

    def list_objects(self) -> list[BackendObject]:
        """See FileDriver.list_objects."""
        return [self._ids.named(found) for found in super().list_objects()]

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """See FileDriver.manage_existing_get_size."""
        return super().manage_existing_get_size(self._ids.to_remove(volume), ref)

    def get_manageable_volumes(self, pool: str | None = None) -> list[Manageable]:
        """See FileDriver.get_manageable_volumes."""
        return [self._ids.shown(found) for found in super().get_manageable_volumes(pool)]

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """See FileDriver.manage_existing_snapshot_get_size."""
        return super().manage_existing_snapshot_get_size(self._ids.to_remove(snapshot), ref)

    def get_manageable_snapshots(self, pool: str | None = None) -> list[Manageable]:
        """See FileDriver.get_manageable_snapshots."""
        return [self._ids.shown(found) for found in super().get_manageable_snapshots(pool)]

    def _state(self, made: VolumeRef | SnapshotRef) -> ProviderState | None:
        return self._ids.state(made)

    def _measure(self, name: str, pool: PoolFolder) -> PoolStats:
        measured = super()._measure(name, pool)
        total = self._capacity.get(name, 1000 * GiB)
        free = total if isinstance(total, str) else max(0, total - measured.allocated)
        return replace(measured, total=total, free=free)
