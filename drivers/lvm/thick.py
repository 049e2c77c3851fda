"""Thick volumes: LVs with all their extents. Snapshots are classic ones, with room for changes; clones are copied.

Free extents hold what their last owners wrote, ours or others. So nothing gets a volume's name, and no extents join a
volume, before they were made zeros; clearing when something is deleted is a policy on top of that.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from drivers import base
from drivers.lvm import clearing, watching
from drivers.lvm.base import LvmBase, chosen
from drivers.lvm.clearing import POLICIES, Sweeper
from drivers.lvm.facts import TEMP_EXTEND, TEMP_NEW, TRASH, LogicalVolume
from drivers.lvm.objects import Objects
from drivers.lvm.pools import MakeCommands, ThickGroup, split_place
from nbdsvc import errors
from nbdsvc.driver import DriverFacts, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names
from nbdsvc.units import human

log = structlog.get_logger(__name__)


class ThickDriver(LvmBase[ThickGroup]):
    """The driver `lvm` with lvm_type = thick."""

    facts = DriverFacts(thin=False)

    def __init__(
        self,
        name: str,
        *,
        # Room of a new snapshot, in per cent of its volume's size.
        snapshot_percent: int = 20,
        # The treatment of the bytes of deleted volumes: none, discard or zero.
        clearing: str = clearing.DISCARD,
        **options: Any,
    ) -> None:
        self._percent = snapshot_percent
        self._clearing = chosen("clearing", clearing, POLICIES)
        super().__init__(name, **options)

    def _make_pools(self, backend: str, places: Mapping[str, str], commands: MakeCommands) -> dict[str, ThickGroup]:
        made = {}
        for name, place in places.items():
            group, thin_pool = split_place(name, place)
            if thin_pool:
                raise errors.ConfigError(
                    setting=f"pools.{name}", reason="thick volumes are in a group, not in a thin pool"
                )
            lvm = commands(group, base.label(backend, name))
            objects = Objects(lvm, base.label(backend, name), holds=partial(self._holds, group))
            made[name] = ThickGroup(name, lvm, objects, Sweeper(lvm, self._clearing))
        return made

    def _holds(self, group: str, found: LogicalVolume) -> bool:
        return not self._is_neighbours(group, found)

    @property
    def sweepers(self) -> list[Sweeper]:
        """What clears deleted volumes, one for each pool."""
        return [at.sweeper for at in self._pools.values()]

    # Start

    def _set_up(self, at: ThickGroup) -> None:
        """Activate the backend's LVs and go on with clearing deleted ones. Without the volume group: nothing."""
        if at.lvm.group_facts() is not None:
            self._mend(at)

    def _check(self, at: ThickGroup) -> None:
        """BackendUnavailable when the volume group does not exist or lacks disks."""
        at.objects.group()

    def _watch(self, at: ThickGroup) -> None:
        """Extend snapshots that run full, activate the backend's LVs, and go on with clearing deleted ones."""
        group, found = at.objects.group(), self._mend(at)
        for lv in (each for each in found.values() if each.is_classic_snapshot and each.owner):
            verdict = watching.snapshot(lv, group, self._policy)
            for growth in verdict.growths:
                log.info("extending a snapshot", name=lv.name, bytes=growth.more)
                at.lvm.extend(lv.name, lv.size + growth.more)
                group = at.objects.group()
            for warning in verdict.warnings:
                log.warning("a snapshot is filling, and will be lost when it is full", reason=warning)

    def _mend(self, at: ThickGroup) -> dict[str, LogicalVolume]:
        with at.asleep:
            found = at.objects.find()
            at.objects.wake(found.values())
        if any(name.startswith(TRASH) for name in found):
            at.sweeper.start()
        return found

    def _measure(self, name: str, at: ThickGroup) -> PoolStats:
        group = at.objects.group()
        found = at.objects.find().values()
        return PoolStats(
            name=name,
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
            total=group.size,
            free=group.free,
            provisioned=sum(lv.size for lv in found),
            allocated=group.size - group.free,
            volumes=sum(1 for lv in found if (names.parse_name(lv.name) or ("",))[0] == "volume"),
            thin=False,
        )

    # Objects

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        """Create the LV under a temporary name, zero it, then rename it: an LV with the volume's name is zeros."""
        at, name, size = self._at(volume.pool), names.volume_name(volume.id), volume.size
        new = TEMP_NEW + name
        found = at.objects.find(name, new)
        if at.objects.is_mine(found.get(name), owner):
            return
        begun = found.get(new)
        if begun and (begun.owner != owner or begun.size < size):
            at.lvm.remove(new)
            begun = None
        if begun is None:
            with at.objects.making(new, owner):
                at.lvm.make_thick(new, size, owner)
        clearing.zero(at.lvm.path(new), 0, at.objects.must_find(new).size)
        at.lvm.rename(new, name)

    def _grow(self, at: ThickGroup, name: str, size: int) -> None:
        """The extents to come are taken by an LV of their own, zeroed, and handed over: never seen with old bytes."""
        more = TEMP_EXTEND + name
        found = at.objects.find(name, more)
        current = found.get(name)
        if current is None:
            raise at.objects.gone(name)
        if more in found:
            at.lvm.remove(more)
        if current.size >= size:
            return
        if current.has_classic_snapshots and current.open:
            raise at.objects.busy(name, "a thick volume that has snapshots grows only while it is not in use")
        at.lvm.make_thick(more, size - current.size)
        clearing.zero(at.lvm.path(more), 0, at.objects.must_find(more).size)
        ranges = at.lvm.extent_ranges(more)
        at.lvm.remove(more)
        self._join(at, current, size, ranges)

    def _join(self, at: ThickGroup, current: LogicalVolume, size: int, ranges: list[str]) -> None:
        """LVM refuses to grow the origin of a classic snapshot while it is active (watch() wakes it after a kill)."""
        if not current.has_classic_snapshots:
            at.lvm.extend(current.name, size, ranges)
            return
        with at.asleep:
            at.lvm.deactivate(current.name)
            try:
                at.lvm.extend(current.name, size, ranges)
            finally:
                at.lvm.activate(current.name)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the LV; it is cleared in the background, renamed. DeviceBusy while it is open or has snapshots."""
        at, name = self._at(volume.pool), names.volume_name(volume.id)
        found = at.objects.find(name, TEMP_NEW + name, TEMP_EXTEND + name)
        at.lvm.remove(*(each for each in found if each != name))
        if name in found:
            self._throw_away(at, found[name])

    def _throw_away(self, at: ThickGroup, found: LogicalVolume) -> None:
        if found.has_classic_snapshots:
            raise at.objects.busy(found.name, "it has snapshots")
        if found.open:
            raise at.objects.busy(found.name, "it is open")
        if at.sweeper.removes_at_once:
            at.lvm.remove(found.name)
            return
        at.lvm.rename(found.name, TRASH + found.name)
        at.sweeper.start()

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """Create a classic snapshot with room for snapshot_percent of changes. OutOfSpace where the group has less."""
        at, name = self._at(snapshot.pool), names.snapshot_name(snapshot.id)
        origin = names.volume_name(snapshot.volume_id)
        found = at.objects.find(name, origin)
        if at.objects.is_mine(found.get(name), owner):
            return
        if origin not in found:
            raise at.objects.gone(origin)
        room = self._room(at, found[origin])
        with at.objects.making(name, owner):
            at.lvm.make_classic_snapshot(name, origin, room, owner)

    def _room(self, at: ThickGroup, origin: LogicalVolume) -> int:
        """Bytes of a new classic snapshot, by the policy. OutOfSpace where the group has less."""
        group = at.objects.group()
        wanted = min(max(origin.size * self._percent // 100, group.extent), watching.whole(origin.size))
        wanted = -(-wanted // group.extent) * group.extent
        if wanted > group.free:
            reason = (
                f"a snapshot of {human(origin.size)} needs room for {human(wanted)} of changes "
                f"(snapshot_percent = {self._percent}), and {human(group.free)} are free in {group.name}"
            )
            raise errors.OutOfSpace(pool=at.objects.backend, requested=wanted, free=group.free, reason=reason)
        return wanted

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Split the snapshot off and clear its changes as a deleted volume is cleared. DeviceBusy while it is open."""
        at, name = self._at(snapshot.pool), names.snapshot_name(snapshot.id)
        found = at.objects.find(name).get(name)
        if found is None:
            return
        if found.open:
            raise at.objects.busy(name, "it is open")
        if found.overflowed or at.sweeper.removes_at_once:
            at.lvm.remove(name)
            return
        if found.is_classic_snapshot:
            at.lvm.split_snapshot(name)
        at.lvm.rename(name, TRASH + name)
        at.sweeper.start()

    def _reject_reason(self, at: ThickGroup, found: LogicalVolume) -> str:
        return "" if found.is_plain else "it is no LV with extents of its own"

    def _reject_snapshot_reason(self, at: ThickGroup, found: LogicalVolume) -> str:
        return "" if found.is_classic_snapshot else "it is no classic snapshot"
