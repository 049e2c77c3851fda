"""Volumes as sparse files in a pool folder: for hosts without LVM, and for trying nbdsvc out.

Snapshots and clones share blocks where the file system can (XFS, btrfs); elsewhere the manager copies. Deleting is a
rename. What is promised may exceed what is there, up to the operator's over-subscription ratio.
"""

import os
from pathlib import Path

from drivers.pool import PoolFolder
from nbdsvc import errors
from nbdsvc.driver import BackendObject, Capabilities, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.model import names


class FileDriver:
    """See nbdsvc/driver.py for the contract. `name` is the backend's and its only pool's name."""

    VERSION = "1.0"

    def __init__(
        self,
        name: str,
        pool: Path,
        reserved_percentage: int = 0,
        max_over_subscription_ratio: float = 20.0,
        filter_function: str | None = None,
        goodness_function: str | None = None,
    ) -> None:
        self.name = name
        self._pool = self._make_pool(name, Path(pool))
        self._reserved = reserved_percentage
        self._ratio = max_over_subscription_ratio
        self._filter = filter_function
        self._goodness = goodness_function
        self._stats: list[PoolStats] = []

    def _make_pool(self, name: str, folder: Path) -> PoolFolder:
        return PoolFolder(name, folder)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(thin=True, instant_clone=self._pool.reflinks)

    def do_setup(self) -> None:
        self._pool.set_up()

    def check_for_setup_error(self) -> None:
        self._pool.check()

    def get_version(self) -> str:
        return self.VERSION

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
        return self._pool.volume_path(volume.id)

    def snapshot_path(self, snapshot: SnapshotRef) -> Path:
        return self._pool.snapshot_path(snapshot.id)

    def list_objects(self) -> list[BackendObject]:
        self._pool.check()
        return [self._describe(path, status) for path, status in self._pool.objects()]

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        self._pool.make(self.local_path(volume), volume.size, owner)

    def delete_volume(self, volume: VolumeRef) -> None:
        self._pool.discard(self.local_path(volume))

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        self._pool.grow(self.local_path(volume), new_size)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        self._share(self.local_path(volume), volume.size, owner, self.local_path(source))

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        source = self._pool.volume_path(snapshot.volume_id) if self.capabilities.instant_clone else None
        self._share(self.snapshot_path(snapshot), snapshot.size, owner, source)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        self._pool.discard(self.snapshot_path(snapshot))

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        self._share(self.local_path(volume), volume.size, owner, self.snapshot_path(snapshot))

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        self._pool.replace(self.local_path(volume), volume.size, owner, self.snapshot_path(snapshot))

    def _share(self, path: Path, size: int, owner: str, source: Path | None) -> None:
        if source is not None and not source.exists():
            self._pool.check()
            raise errors.BackendUnavailable(backend=self.name, reason=f"{source.name} is not in the pool any more")
        self._pool.make(path, size, owner, source)

    def _describe(self, path: Path, status: os.stat_result) -> BackendObject:
        kind, id = names.parse_name(path.name) or ("other", None)
        return BackendObject(kind=kind, id=id, owner=self._pool.owner(path), name=path.name, size=status.st_size)

    def _measure(self) -> PoolStats:
        self._pool.check()
        room = os.statvfs(self._pool.folder)
        found = [(path, status) for path, status in self._pool.objects()]
        return PoolStats(
            name=self.name,
            total=room.f_blocks * room.f_frsize,
            free=room.f_bavail * room.f_frsize,
            provisioned=sum(status.st_size for _, status in found),
            allocated=sum(status.st_blocks * 512 for _, status in found),
            volumes=sum(1 for path, _ in found if path.parent.name == "volumes"),
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
        )
