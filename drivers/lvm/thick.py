"""Thick volumes: LVs with all their extents. Snapshots are classic ones, with room for changes; clones are copied.

Free extents hold what their last owners wrote, ours or others. So nothing gets a volume's name, and no extents join a
volume, before they were made zeros; clearing when something is deleted is a policy on top of that.
"""

import threading
from typing import Any

import structlog

from drivers.lvm import clearing, watching
from drivers.lvm.base import LvmBase, chosen
from drivers.lvm.clearing import POLICIES, Sweeper
from drivers.lvm.facts import TEMP_EXTEND, TEMP_NEW, TRASH, LogicalVolume
from nbdsvc import errors
from nbdsvc.driver import DriverFacts, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names
from nbdsvc.units import human

log = structlog.get_logger(__name__)


class ThickDriver(LvmBase):
    """The driver `lvm` with lvm_type = thick."""

    facts = DriverFacts(thin=False)

    def __init__(
        self,
        name: str,
        *,
        # Room of a new snapshot, in per cent of its volume's size.
        snapshot_percent: int = 20,
        # What happens to the bytes of deleted volumes: none, discard or zero.
        clearing: str = clearing.DISCARD,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._percent = snapshot_percent
        self.sweeper = Sweeper(self._lvm, chosen("clearing", clearing, POLICIES))
        # Held while a volume is not active by intent, so that it is not activated meanwhile.
        self._asleep = threading.Lock()

    # Start

    def do_setup(self) -> None:
        """Activate the backend's LVs and go on with clearing deleted ones. Without the volume group: nothing."""
        if self._lvm.group_facts() is not None:
            self._mend()

    def check_for_setup_error(self) -> None:
        """BackendUnavailable when the volume group does not exist or lacks disks."""
        self._objects.group()

    def watch(self) -> None:
        """Extend snapshots that run full, activate the backend's LVs, and go on with clearing deleted ones."""
        group, found = self._objects.group(), self._mend()
        for lv in (each for each in found.values() if each.is_classic_snapshot and each.owner):
            verdict = watching.snapshot(lv, group, self._policy)
            for growth in verdict.growths:
                log.info("extending a snapshot", name=lv.name, bytes=growth.more)
                self._lvm.extend(lv.name, lv.size + growth.more)
                group = self._objects.group()
            for warning in verdict.warnings:
                log.warning("a snapshot is filling, and will be lost when it is full", reason=warning)

    def _mend(self) -> dict[str, LogicalVolume]:
        with self._asleep:
            found = self._objects.find()
            self._objects.wake(found.values())
        if any(name.startswith(TRASH) for name in found):
            self.sweeper.start()
        return found

    def _measure(self) -> PoolStats:
        group = self._objects.group()
        found = self._objects.find().values()
        return PoolStats(
            name=self.name,
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
        name, size = names.volume_name(volume.id), volume.size
        new = TEMP_NEW + name
        found = self._objects.find(name, new)
        if self._objects.is_mine(found.get(name), owner):
            return
        begun = found.get(new)
        if begun and (begun.owner != owner or begun.size < size):
            self._lvm.remove(new)
            begun = None
        if begun is None:
            with self._objects.making(new, owner):
                self._lvm.make_thick(new, size, owner)
        clearing.zero(self._lvm.path(new), 0, self._objects.must_find(new).size)
        self._lvm.rename(new, name)

    def _grow(self, name: str, size: int) -> None:
        """The extents to come are taken by an LV of their own, zeroed, and handed over: never seen with old bytes."""
        more = TEMP_EXTEND + name
        found = self._objects.find(name, more)
        current = found.get(name)
        if current is None:
            raise self._objects.gone(name)
        if more in found:
            self._lvm.remove(more)
        if current.size >= size:
            return
        if current.has_classic_snapshots and current.open:
            raise self._objects.busy(name, "a thick volume that has snapshots grows only while it is not in use")
        self._lvm.make_thick(more, size - current.size)
        clearing.zero(self._lvm.path(more), 0, self._objects.must_find(more).size)
        ranges = self._lvm.extent_ranges(more)
        self._lvm.remove(more)
        self._join(current, size, ranges)

    def _join(self, current: LogicalVolume, size: int, ranges: list[str]) -> None:
        """LVM refuses to grow the origin of a classic snapshot while it is active (watch() wakes it after a kill)."""
        if not current.has_classic_snapshots:
            self._lvm.extend(current.name, size, ranges)
            return
        with self._asleep:
            self._lvm.deactivate(current.name)
            try:
                self._lvm.extend(current.name, size, ranges)
            finally:
                self._lvm.activate(current.name)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the LV; it is cleared in the background, renamed. DeviceBusy while it is open or has snapshots."""
        name = names.volume_name(volume.id)
        found = self._objects.find(name, TEMP_NEW + name, TEMP_EXTEND + name)
        self._lvm.remove(*(each for each in found if each != name))
        if name in found:
            self._throw_away(found[name])

    def _throw_away(self, found: LogicalVolume) -> None:
        if found.has_classic_snapshots:
            raise self._objects.busy(found.name, "it has snapshots")
        if found.open:
            raise self._objects.busy(found.name, "it is open")
        if self.sweeper.removes_at_once:
            self._lvm.remove(found.name)
            return
        self._lvm.rename(found.name, TRASH + found.name)
        self.sweeper.start()

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """Create a classic snapshot with room for snapshot_percent of changes. OutOfSpace where the group has less."""
        name, origin = names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id)
        found = self._objects.find(name, origin)
        if self._objects.is_mine(found.get(name), owner):
            return
        if origin not in found:
            raise self._objects.gone(origin)
        room = self._room(found[origin])
        with self._objects.making(name, owner):
            self._lvm.make_classic_snapshot(name, origin, room, owner)

    def _room(self, origin: LogicalVolume) -> int:
        """By the policy, as long as the group has it."""
        group = self._objects.group()
        wanted = min(max(origin.size * self._percent // 100, group.extent), watching.whole(origin.size))
        wanted = -(-wanted // group.extent) * group.extent
        if wanted > group.free:
            reason = (
                f"a snapshot of {human(origin.size)} needs room for {human(wanted)} of changes "
                f"(snapshot_percent = {self._percent}), and {human(group.free)} are free in {group.name}"
            )
            raise errors.OutOfSpace(pool=self._objects.backend, requested=wanted, free=group.free, reason=reason)
        return wanted

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Split the snapshot off and clear its changes as a deleted volume is cleared. DeviceBusy while it is open."""
        name = names.snapshot_name(snapshot.id)
        found = self._objects.find(name).get(name)
        if found is None:
            return
        if found.open:
            raise self._objects.busy(name, "it is open")
        if found.overflowed or self.sweeper.removes_at_once:
            self._lvm.remove(name)
            return
        if found.is_classic_snapshot:
            self._lvm.split_snapshot(name)
        self._lvm.rename(name, TRASH + name)
        self.sweeper.start()

    def _reject_reason(self, found: LogicalVolume) -> str:
        return "" if found.is_plain else "it is no LV with extents of its own"

    def _reject_snapshot_reason(self, found: LogicalVolume) -> str:
        return "" if found.is_classic_snapshot else "it is no classic snapshot"
