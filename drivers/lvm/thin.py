"""Thin volumes: their snapshots and clones share blocks, in one pool of the group that is watched."""

from typing import Any

import structlog

from drivers.lvm import watching
from drivers.lvm.base import LvmBase
from drivers.lvm.facts import TEMP_NEW, TEMP_OLD, LogicalVolume
from nbdsvc import errors
from nbdsvc.driver import DriverFacts, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names

log = structlog.get_logger(__name__)

# What a new pool takes of the group; the rest is for the growth of its metadata (as Cinder does).
POOL_PERCENT = 95
# A pool is bad when its health is one of these: failed, or its metadata is read-only (lvs(8), lv_attr 9).
_FAILED, _READ_ONLY = "F", "M"
_SICK = {_FAILED: "has failed", _READ_ONLY: "has read-only metadata"}


class ThinDriver(LvmBase):
    """The driver `lvm` with lvm_type = thin. pool_name: the thin pool, made where it is missing; default GROUP-pool."""

    facts = DriverFacts(thin=True)

    def __init__(self, name: str, *, pool_name: str = "", **options: Any) -> None:
        super().__init__(name, **options)
        self._pool = pool_name or f"{self._lvm.group}-pool"

    # Start

    def do_setup(self) -> None:
        """Create the thin pool where it is missing, and set its options. Without the volume group: nothing."""
        if self._lvm.group_facts() is None:
            return
        found = self._objects.find()
        if self._pool not in found:
            self._lvm.make_pool(self._pool, POOL_PERCENT)
            found = self._objects.find()
        self._mend(found)

    def check_for_setup_error(self) -> None:
        """BackendUnavailable where the pool is missing or sick. One that ran out of metadata is extended first."""
        self._objects.group()
        pool = self._found_pool()
        if pool.health == _READ_ONLY:
            self.watch()
            pool = self._found_pool()
        if pool.health in _SICK:
            reason = f"pool {pool.name} {_SICK[pool.health]}: see lvconvert --repair"
            raise self._objects.unavailable(reason)

    def _found_pool(self) -> LogicalVolume:
        pool = self._objects.find(self._pool).get(self._pool)
        if pool is None or not pool.is_thin_pool:
            kind = "is no thin pool" if pool else "does not exist"
            raise self._objects.unavailable(f"{self._lvm.group}/{self._pool} {kind}")
        return pool

    def watch(self) -> None:
        """Extend the pool's data and metadata by the policy, correct its options, and activate the backend's LVs."""
        group, found = self._objects.group(), self._objects.find()
        self._mend(found)
        verdict = watching.pool(self._existing_pool(found), group, self._policy)
        for growth in verdict.growths:
            self._grow_pool(growth)
        for warning in verdict.warnings:
            log.warning("thin pool is filling", reason=warning)

    def _mend(self, found: dict[str, LogicalVolume]) -> None:
        pool = found.get(self._pool)
        if pool and pool.is_thin_pool and pool.when_full != "error":
            self._lvm.fail_when_full(self._pool)
        if pool and pool.is_thin_pool and not pool.zeroing:
            self._lvm.zero_new_blocks(self._pool)
        self._objects.wake(found.values())

    def _grow_pool(self, growth: watching.Growth) -> None:
        log.info("extending the thin pool", pool=growth.name, metadata=growth.metadata, bytes=growth.more)
        if growth.metadata:
            self._lvm.extend_pool_metadata(growth.name, growth.more)
        else:
            self._lvm.extend(growth.name, self._objects.must_find(growth.name).size + growth.more)

    def _measure(self) -> PoolStats:
        found = self._objects.find()
        pool = self._existing_pool(found)
        thin = [lv for lv in found.values() if lv.pool == self._pool]
        return PoolStats(
            name=self.name,
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
            total=pool.size,
            free=0 if watching.refusal(pool, self._policy) else pool.size - pool.used,
            provisioned=sum(lv.size for lv in thin),
            allocated=pool.used,
            volumes=sum(1 for lv in thin if (names.parse_name(lv.name) or ("",))[0] == "volume"),
            metadata_percent=pool.metadata_percent,
        )

    # Objects

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        """Create a thin LV. OutOfSpace where the pool or its metadata is full."""
        name = names.volume_name(volume.id)
        found = self._objects.find(name, self._pool)
        if not self._objects.is_mine(found.get(name), owner):
            self._check_pool(found)
            with self._objects.making(name, owner):
                self._lvm.make_thin(name, self._pool, volume.size, owner)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        """Create a thin snapshot of the source's LV. OutOfSpace where the pool or its metadata is full."""
        self._share(names.volume_name(volume.id), names.volume_name(source.id), volume.size, owner)

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Create a thin snapshot of the snapshot's LV. OutOfSpace where the pool or its metadata is full."""
        self._share(names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """Create a thin snapshot of the volume's LV. OutOfSpace where the pool or its metadata is full."""
        self._share(names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id), 0, owner)

    def _share(self, name: str, origin: str, size: int, owner: str) -> None:
        """A snapshot of `origin`, of at least `size` bytes."""
        found = self._objects.find(name, origin, self._pool)
        made = found.get(name)
        if not self._objects.is_mine(made, owner):
            self._check_pool(found)
            if origin not in found:
                raise self._objects.gone(origin)
            with self._objects.making(name, owner):
                self._lvm.make_thin_snapshot(name, origin, owner)
        if (made or found[origin]).size < size:
            self._lvm.extend(name, size)

    def _grow(self, name: str, size: int) -> None:
        if self._objects.must_find(name).size < size:
            self._lvm.extend(name, size)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the LV and what an interrupted revert left. DeviceBusy while it is open."""
        self._delete(names.volume_name(volume.id))

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove the LV. DeviceBusy while it is open."""
        self._delete(names.snapshot_name(snapshot.id))

    def _delete(self, name: str) -> None:
        """With what an earlier revert left of it."""
        self._lvm.remove(*self._objects.find(TEMP_NEW + name, TEMP_OLD + name, name))

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """A snapshot of the snapshot takes the volume's name. Not lvconvert --merge, which would use the snapshot up.

        Three commits: make the new one, move the old one away, move the new one in. The LVs that are there tell how far
        an earlier try came, and at no time is the volume's content in an LV that a repeat would remove.
        """
        name = names.volume_name(volume.id)
        new, old = TEMP_NEW + name, TEMP_OLD + name
        found = self._objects.find(name, new, old)
        current = found.get(name)
        if current is None and old not in found:
            raise self._objects.gone(name)
        if current is not None:
            self._lvm.remove(*(each for each in (old, new) if each in found))
            self._share(new, names.snapshot_name(snapshot.id), volume.size, current.owner or owner)
            self._lvm.rename(name, old)
        self._lvm.rename(new, name)
        self._lvm.remove(old)

    def _reject_reason(self, found: LogicalVolume) -> str:
        return "" if found.pool == self._pool else f"it is no thin volume of pool {self._pool}"

    _reject_snapshot_reason = _reject_reason

    def _check_pool(self, found: dict[str, LogicalVolume]) -> None:
        """Nothing new where it would overrun the pool."""
        pool = self._existing_pool(found)
        if reason := watching.refusal(pool, self._policy):
            raise errors.OutOfSpace(pool=self._objects.backend, requested=None, free=0, reason=reason)

    def _existing_pool(self, found: dict[str, LogicalVolume]) -> LogicalVolume:
        if self._pool not in found:
            raise self._objects.unavailable(f"volume group {self._lvm.group} or its pool {self._pool} is gone")
        return found[self._pool]
