"""The LVM driver: thin volumes, whose snapshots and clones share blocks, in one pool of a volume group."""

from pathlib import Path

import structlog

from drivers.lvm.commands import Commands
from drivers.lvm.facts import LogicalVolume
from nbdsvc import errors, process
from nbdsvc.driver import BackendObject, Capabilities, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names

log = structlog.get_logger(__name__)

# What a new pool takes of the group; the rest is for the growth of its metadata (as the reference does).
POOL_PERCENT = 95
# Beyond these a pool is in danger: data can be added by whoever watches, full metadata makes a pool read-only.
DATA_WARNING, METADATA_WARNING, METADATA_REFUSAL = 85.0, 70.0, 90.0


class LvmDriver:
    """See nbdsvc/driver.py for the contract.

    volume_group (row S006); pool_name: its thin pool, made where it is missing; default GROUP-pool. `pool` is for
    backends with a folder and ignored.
    """

    VERSION = "1.0"

    def __init__(
        self,
        name: str,
        pool: Path | None = None,
        volume_group: str = "cinder-volumes",
        pool_name: str = "",
        reserved_percentage: int = 0,
        max_over_subscription_ratio: float = 20.0,
        filter_function: str | None = None,
        goodness_function: str | None = None,
        runner: process.Runner | None = None,
    ) -> None:
        self.name = name
        self._lvm = Commands(volume_group, name, runner or process.Runner())
        self._pool = pool_name or f"{volume_group}-pool"
        self._reserved = reserved_percentage
        self._ratio = max_over_subscription_ratio
        self._filter = filter_function
        self._goodness = goodness_function
        self._stats: list[PoolStats] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(thin=True, instant_clone=True)

    # Start

    def do_setup(self) -> None:
        if self._lvm.group_facts() is not None and self._lvm.find(self._pool) is None:
            self._lvm.make_pool(self._pool, POOL_PERCENT)

    def check_for_setup_error(self) -> None:
        group = self._lvm.group_facts()
        if group is None:
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"there is no volume group {self._lvm.group} (volume_group)"
            )
        if group.missing:
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"{group.missing} disks of volume group {group.name} are missing"
            )
        found = self._lvm.find(self._pool)
        if found is None or not found.is_thin_pool:
            kind = "is no thin pool" if found else "does not exist"
            raise errors.BackendUnavailable(backend=self.name, reason=f"{group.name}/{self._pool} {kind}")

    def get_version(self) -> str:
        return self.VERSION

    # Facts

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        if refresh or not self._stats:
            self._stats = [self._measure()]
        return self._stats

    def get_pool(self, volume: VolumeRef) -> str:
        return self.name

    def get_filter_function(self) -> str | None:
        return self._filter

    def get_goodness_function(self) -> str | None:
        return self._goodness

    def local_path(self, volume: VolumeRef) -> Path:
        return self._lvm.path(names.volume_name(volume.id))

    def snapshot_path(self, snapshot: SnapshotRef) -> Path:
        return self._lvm.path(names.snapshot_name(snapshot.id))

    def list_objects(self) -> list[BackendObject]:
        return [self._describe(found) for found in self._all() if found.name != self._pool]

    # Volumes

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        name = names.volume_name(volume.id)
        if not self._is_mine(name, owner):
            self._lvm.make_thin(name, self._pool, volume.size, owner)

    def delete_volume(self, volume: VolumeRef) -> None:
        name = names.volume_name(volume.id)
        for leftover in (_temporary(name), _outgoing(name), name):
            self._lvm.remove(leftover)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        self._grow(names.volume_name(volume.id), new_size)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        self._share(names.volume_name(volume.id), names.volume_name(source.id), volume.size, owner)

    # Snapshots

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        self._share(names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id), 0, owner)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self._lvm.remove(names.snapshot_name(snapshot.id))

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        self._share(names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """A snapshot of the snapshot takes the volume's name. Not lvconvert --merge, which would use the snapshot up.

        Three commits: make the new one, move the old one away, move the new one in. Whatever is there tells how far an
        earlier try came, and at no time is the volume's content in an LV that a repeat would remove.
        """
        name = names.volume_name(volume.id)
        current = self._lvm.find(name)
        keeper = (current or self._must_find(_outgoing(name))).owner
        if current is not None:
            self._lvm.remove(_outgoing(name))
            self._lvm.remove(_temporary(name))
            self._share(_temporary(name), names.snapshot_name(snapshot.id), volume.size, keeper or owner)
            self._lvm.rename(name, _outgoing(name))
        self._lvm.rename(_temporary(name), name)
        self._lvm.remove(_outgoing(name))

    def _share(self, name: str, origin: str, size: int, owner: str) -> None:
        if not self._is_mine(name, owner):
            self._must_find(origin)
            self._lvm.make_snapshot(name, origin, owner)
        self._grow(name, size)

    def _grow(self, name: str, size: int) -> None:
        found = self._must_find(name)
        if found.size < size:
            self._lvm.extend(name, size)

    def _is_mine(self, name: str, owner: str) -> bool:
        """True for what an earlier try made; Conflict for another's object of that name."""
        self._must_have_pool()
        found = self._lvm.find(name)
        if found is None:
            return False
        if found.owner != owner:
            raise errors.Conflict(reason=f"{name} exists in {self._lvm.group} and belongs to somebody else")
        return True

    def _must_find(self, name: str) -> LogicalVolume:
        found = self._lvm.find(name)
        if found is None:
            self._must_have_pool()
            raise errors.BackendUnavailable(backend=self.name, reason=f"{name} is not in the pool any more")
        return found

    def _must_have_pool(self) -> None:
        if self._lvm.find(self._pool) is None:
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"volume group {self._lvm.group} or its pool {self._pool} is gone"
            )

    def _all(self) -> list[LogicalVolume]:
        try:
            return self._lvm.list()
        except errors.CommandFailed:
            self.check_for_setup_error()
            raise

    def _describe(self, found: LogicalVolume) -> BackendObject:
        kind, id = names.parse_name(found.name) or ("other", None)
        return BackendObject(kind=kind, id=id, owner=found.owner, name=found.name, size=found.size)

    def _measure(self) -> PoolStats:
        found = self._all()
        pool = next((lv for lv in found if lv.name == self._pool), None)
        if pool is None:
            self._must_have_pool()
            raise errors.BackendUnavailable(backend=self.name, reason=f"pool {self._pool} is gone")
        thin = [lv for lv in found if lv.pool == self._pool]
        self._warn(pool)
        full = pool.metadata_percent >= METADATA_REFUSAL
        return PoolStats(
            name=self.name,
            total=pool.size,
            free=0 if full else pool.size - pool.used,
            provisioned=sum(lv.size for lv in thin),
            allocated=pool.used,
            volumes=sum(1 for lv in thin if (names.parse_name(lv.name) or ("",))[0] == "volume"),
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
        )

    def _warn(self, pool: LogicalVolume) -> None:
        if pool.data_percent >= DATA_WARNING or pool.metadata_percent >= METADATA_WARNING:
            log.warning("thin pool is filling", pool=pool.name, data_percent=pool.data_percent,
                        metadata_percent=pool.metadata_percent)  # fmt: skip


def _temporary(name: str) -> str:
    return f"nbdsvc-new-{name}"


def _outgoing(name: str) -> str:
    return f"nbdsvc-old-{name}"
