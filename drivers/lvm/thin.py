"""Thin volumes: their snapshots and clones share blocks, in thin pools that are watched."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from drivers import base
from drivers.lvm import watching
from drivers.lvm.base import LvmBase
from drivers.lvm.consistent import ConsistentSnapshots
from drivers.lvm.facts import TEMP_NEW, TEMP_OLD, LogicalVolume
from drivers.lvm.objects import Objects
from drivers.lvm.pools import MakeCommands, ThinPool, shares_group, split_place
from nbdsvc import errors
from nbdsvc.driver import DriverFacts, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names

log = structlog.get_logger(__name__)

# What a new pool takes of the group; the rest is for the growth of its metadata (as Cinder does).
POOL_PERCENT = 95
# A pool is bad when its health is one of these: failed, or its metadata is read-only (lvs(8), lv_attr 9).
_FAILED, _READ_ONLY = "F", "M"
_SICK = {_FAILED: "has failed", _READ_ONLY: "has read-only metadata"}


class ThinDriver(ConsistentSnapshots, LvmBase[ThinPool]):
    """The driver `lvm` with lvm_type = thin. pool_name: the thin pool, made where it is missing; default GROUP-pool."""

    facts = DriverFacts(thin=True)

    def __init__(self, name: str, *, pool_name: str = "", **options: Any) -> None:
        if pool_name and options.get("pools") is not None:
            raise errors.ConfigError(setting="pool_name", reason="pools names the thin pools: set one of the two")
        self._pool_name = pool_name
        super().__init__(name, **options)

    def _make_pools(self, backend: str, places: Mapping[str, str], commands: MakeCommands) -> dict[str, ThinPool]:
        """Those of one group tell their LVs apart by the thin pool."""
        found = {name: split_place(name, place) for name, place in places.items()}
        whole = {name: (group, thin or self._pool_name or f"{group}-pool") for name, (group, thin) in found.items()}
        made = {}
        for name, (group, thin_pool) in whole.items():
            lvm, label = commands(group, base.label(backend, name)), base.label(backend, name)
            siblings = [other for there, other in whole.values() if there == group]
            holds = partial(self._holds, group, shares_group(thin_pool, siblings))
            objects = Objects(lvm, label, holds=holds)
            made[name] = ThinPool(name, lvm, objects, thin_pool, shared=len(siblings) > 1)
        return made

    def _holds(self, group: str, shares: Callable[[LogicalVolume], bool], found: LogicalVolume) -> bool:
        return shares(found) and not self._is_neighbours(group, found)

    # Start

    def _set_up(self, at: ThinPool) -> None:
        """Create the thin pool where it is missing, and set its options. Without the volume group: nothing."""
        if at.lvm.group_facts() is None:
            return
        found = at.objects.find()
        if at.thin_pool not in found:
            at.lvm.make_pool(at.thin_pool, POOL_PERCENT)
            found = at.objects.find()
        self._mend(at, found)

    def _check(self, at: ThinPool) -> None:
        """BackendUnavailable where the pool is missing or sick. One that ran out of metadata is extended first."""
        at.objects.group()
        pool = self._found_pool(at)
        if pool.health == _READ_ONLY:
            self._watch(at)
            pool = self._found_pool(at)
        if pool.health in _SICK:
            reason = f"pool {pool.name} {_SICK[pool.health]}: see lvconvert --repair"
            raise at.objects.unavailable(reason)

    def _found_pool(self, at: ThinPool) -> LogicalVolume:
        pool = at.objects.find(at.thin_pool).get(at.thin_pool)
        if pool is None or not pool.is_thin_pool:
            kind = "is no thin pool" if pool else "does not exist"
            raise at.objects.unavailable(f"{at.lvm.group}/{at.thin_pool} {kind}")
        return pool

    def _watch(self, at: ThinPool) -> None:
        """Extend the pool's data and metadata by the policy, correct its options, and activate the backend's LVs."""
        group, found = at.objects.group(), at.objects.find()
        self._mend(at, found)
        verdict = watching.pool(self._existing_pool(at, found), group, self._policy)
        for growth in verdict.growths:
            self._grow_pool(at, growth)
        for warning in verdict.warnings:
            log.warning("thin pool is filling", reason=warning)

    def _mend(self, at: ThinPool, found: dict[str, LogicalVolume]) -> None:
        pool = found.get(at.thin_pool)
        if pool and pool.is_thin_pool and pool.when_full != "error":
            at.lvm.fail_when_full(at.thin_pool)
        if pool and pool.is_thin_pool and not pool.zeroing:
            at.lvm.zero_new_blocks(at.thin_pool)
        at.objects.wake(found.values())

    def _grow_pool(self, at: ThinPool, growth: watching.Growth) -> None:
        log.info("extending the thin pool", pool=growth.name, metadata=growth.metadata, bytes=growth.more)
        if growth.metadata:
            at.lvm.extend_pool_metadata(growth.name, growth.more)
        else:
            at.lvm.extend(growth.name, at.objects.must_find(growth.name).size + growth.more)

    def _measure(self, name: str, at: ThinPool) -> PoolStats:
        found = at.objects.find()
        pool = self._existing_pool(at, found)
        thin = [lv for lv in found.values() if lv.pool == at.thin_pool]
        return PoolStats(
            name=name,
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
        at, name = self._at(volume.pool), names.volume_name(volume.id)
        found = at.objects.find(name, at.thin_pool)
        if not at.objects.is_mine(found.get(name), owner):
            self._check_pool(at, found)
            with at.objects.making(name, owner):
                at.lvm.make_thin(name, at.thin_pool, volume.size, owner)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        """Create a thin snapshot of the source's LV. OutOfSpace where the pool or its metadata is full."""
        at = self._at_both(volume.pool, source.pool)
        self._share(at, names.volume_name(volume.id), names.volume_name(source.id), volume.size, owner)

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Create a thin snapshot of the snapshot's LV. OutOfSpace where the pool or its metadata is full."""
        at = self._at_both(volume.pool, snapshot.pool)
        self._share(at, names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """Create a thin snapshot of the volume's LV. OutOfSpace where the pool or its metadata is full."""
        at = self._at(snapshot.pool)
        self._share(at, names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id), 0, owner)

    def _share(self, at: ThinPool, name: str, origin: str, size: int, owner: str, *, active: bool = True) -> None:
        """A snapshot of `origin`, of at least `size` bytes."""
        found = at.objects.find(name, origin, at.thin_pool)
        made = found.get(name)
        if not at.objects.is_mine(made, owner):
            self._check_pool(at, found)
            if origin not in found:
                raise at.objects.gone(origin)
            with at.objects.making(name, owner):
                at.lvm.make_thin_snapshot(name, origin, owner, active=active)
        if (made or found[origin]).size < size:
            at.lvm.extend(name, size)

    def _grow(self, at: ThinPool, name: str, size: int) -> None:
        if at.objects.must_find(name).size < size:
            at.lvm.extend(name, size)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the LV and what an interrupted revert left. DeviceBusy while it is open."""
        self._delete(self._at(volume.pool), names.volume_name(volume.id))

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove the LV. DeviceBusy while it is open."""
        self._delete(self._at(snapshot.pool), names.snapshot_name(snapshot.id))

    def _delete(self, at: ThinPool, name: str) -> None:
        """Remove the LV, and the temporary LVs of an earlier revert of it."""
        at.lvm.remove(*at.objects.find(TEMP_NEW + name, TEMP_OLD + name, name))

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """A snapshot of the snapshot takes the volume's name. Not lvconvert --merge, which would use the snapshot up.

        Three commits: make the new one, move the old one away, move the new one in. The LVs that are there tell how far
        an earlier try came, and at no time is the volume's content in an LV that a repeat would remove.
        """
        at, name = self._at_both(volume.pool, snapshot.pool), names.volume_name(volume.id)
        new, old = TEMP_NEW + name, TEMP_OLD + name
        found = at.objects.find(name, new, old)
        current = found.get(name)
        if current is None and old not in found:
            raise at.objects.gone(name)
        if current is not None:
            at.lvm.remove(*(each for each in (old, new) if each in found))
            self._share(at, new, names.snapshot_name(snapshot.id), volume.size, current.owner or owner)
            at.lvm.rename(name, old)
        at.lvm.rename(new, name)
        at.lvm.remove(old)

    def _reject_reason(self, at: ThinPool, found: LogicalVolume) -> str:
        return "" if found.pool == at.thin_pool else f"it is no thin volume of pool {at.thin_pool}"

    _reject_snapshot_reason = _reject_reason

    def _check_pool(self, at: ThinPool, found: dict[str, LogicalVolume]) -> None:
        """Nothing new where it would overrun the pool."""
        pool = self._existing_pool(at, found)
        if reason := watching.refusal(pool, self._policy):
            raise errors.OutOfSpace(pool=at.objects.backend, requested=None, free=0, reason=reason)

    def _existing_pool(self, at: ThinPool, found: dict[str, LogicalVolume]) -> LogicalVolume:
        if at.thin_pool not in found:
            raise at.objects.unavailable(f"volume group {at.lvm.group} or its pool {at.thin_pool} is gone")
        return found[at.thin_pool]
