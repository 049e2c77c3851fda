"""The LVM driver: volumes and snapshots as LVs of one group, thin or thick."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers import base
from drivers.base import BaseDriver
from drivers.lvm import clearing
from drivers.lvm.clearing import Sweeper
from drivers.lvm.commands import COMMAND_SECONDS, Commands
from drivers.lvm.facts import LogicalVolume
from drivers.lvm.objects import Objects
from drivers.lvm.thick import Thick
from drivers.lvm.thin import Thin
from drivers.lvm.watching import Policy
from nbdsvc import errors, process
from nbdsvc.driver import BackendObject, Capabilities, Manageable, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names
from nbdsvc.units import GiB, to_gib


class LvmDriver(BaseDriver):
    """See nbdsvc/driver.py for the contract, and docs/lvm.md for what is where.

    volume_group (row S006). lvm_type: thin or thick. pool_name: the thin pool, made where it is missing; default
    GROUP-pool. autoextend_threshold, autoextend_percent: when and by how much the pool, or a thick volume's snapshot,
    grows; 0: never. metadata_threshold, metadata_refusal: from how many per cent on the pool's metadata is doubled, and
    nothing new begun. snapshot_percent: room of a thick volume's snapshot, of the volume's size. clearing: what happens to
    the bytes of deleted thick volumes (none, discard, zero). devices: the only disks that LVM is to look at.
    command_seconds: after which a command is ended. `pool` is for backends with a folder and ignored.
    """

    def __init__(
        self,
        name: str,
        pool: Path | None = None,
        volume_group: str = "cinder-volumes",
        lvm_type: str = "thin",
        pool_name: str = "",
        autoextend_threshold: float = 80.0,
        autoextend_percent: int = 20,
        metadata_threshold: float = 60.0,
        metadata_refusal: float = 90.0,
        snapshot_percent: int = 20,
        clearing: str = clearing.DISCARD,
        devices: Sequence[str] = (),
        command_seconds: float = COMMAND_SECONDS,
        runner: process.Runner | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        lvm = Commands(volume_group, name, runner or process.Runner(), devices, command_seconds)
        self._objects = Objects(lvm, name)
        policy = Policy(autoextend_threshold, autoextend_percent, metadata_threshold, metadata_refusal)
        self.sweeper = Sweeper(lvm, _chosen("clearing", clearing, _POLICIES))
        self._kind: Thin | Thick
        if _chosen("lvm_type", lvm_type, ("thin", "thick")) == "thin":
            self._kind = Thin(self._objects, pool_name or f"{volume_group}-pool", policy)
        else:
            self._kind = Thick(self._objects, policy, snapshot_percent, self.sweeper)

    @property
    def capabilities(self) -> Capabilities:
        return self._kind.capabilities

    # Start

    def do_setup(self) -> None:
        self._kind.set_up()

    def check_for_setup_error(self) -> None:
        self._kind.check()

    def watch(self) -> None:
        self._kind.watch()

    # Facts

    def _measure(self) -> PoolStats:
        return replace(
            self._kind.measure(),
            name=self.name,
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
        )

    def local_path(self, volume: VolumeRef) -> Path:
        return self._objects.path(names.volume_name(volume.id))

    def snapshot_path(self, snapshot: SnapshotRef) -> Path:
        return self._objects.path(names.snapshot_name(snapshot.id))

    def list_objects(self) -> list[BackendObject]:
        found = self._objects.find().values()
        return [self._objects.describe(lv) for lv in found if not lv.is_thin_pool and not lv.passing]

    # Volumes

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        self._kind.create(names.volume_name(volume.id), volume.size, owner)

    def delete_volume(self, volume: VolumeRef) -> None:
        self._kind.delete(names.volume_name(volume.id))

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        self._kind.grow(names.volume_name(volume.id), new_size)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        self._kind.share(names.volume_name(volume.id), names.volume_name(source.id), volume.size, owner)

    # Snapshots

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        self._kind.snapshot(names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id), owner)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self._kind.delete_snapshot(names.snapshot_name(snapshot.id))

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        self._kind.share(names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        self._kind.revert(names.volume_name(volume.id), names.snapshot_name(snapshot.id), volume.size, owner)

    # Taking over

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> None:
        base.check_type(volume, thin=self.capabilities.thin)
        name = names.volume_name(volume.id)
        if self._objects.adopt(name, ref, owner, self._kind.unfit).size < volume.size:
            self._kind.grow(name, volume.size)

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        return to_gib(self._objects.size_of(names.volume_name(volume.id), ref)) * GiB

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        self._objects.release(names.volume_name(volume.id), owner, ref)

    def get_manageable_volumes(self) -> list[Manageable]:
        return self._objects.manageable("volume", self._objects.find().values(), self._kind.unfit)

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> None:
        name, origin = names.snapshot_name(snapshot.id), names.volume_name(snapshot.volume_id)

        def unfit(found: LogicalVolume) -> str:
            return self._kind.unfit_snapshot(found) or (
                "" if found.origin == origin else f"it is no snapshot of {origin}"
            )

        taken = self._objects.adopt(name, ref, owner, unfit)
        if taken.reads < snapshot.size and not taken.is_classic_snapshot:
            self._kind.grow(name, snapshot.size)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        return to_gib(self._objects.size_of(names.snapshot_name(snapshot.id), ref)) * GiB

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        self._objects.release(names.snapshot_name(snapshot.id), owner, ref)

    def get_manageable_snapshots(self) -> list[Manageable]:
        return self._objects.manageable("snapshot", self._objects.find().values(), self._kind.unfit_snapshot)


_POLICIES = clearing.POLICIES


def _chosen(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise errors.ConfigError(setting=f"driver_options.{option}", reason=f"must be one of {', '.join(known)}")
    return value
