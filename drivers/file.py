"""Volumes as sparse files in a pool folder: for hosts without LVM, and for trying nbdsvc out.

Snapshots and clones share blocks where the file system can (XFS, btrfs); elsewhere the manager copies. Deleting is a
rename. What is promised may exceed what is there, up to the operator's over-subscription ratio.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers import base
from drivers.base import BaseDriver
from drivers.pool import PoolFolder
from nbdsvc import errors
from nbdsvc.driver import BackendObject, DriverFacts, Manageable, PoolStats, ProviderState, SnapshotRef, VolumeRef
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import GiB, to_gib


class FileDriver(BaseDriver[PoolFolder]):
    """Volumes as files of pool folders. `options` are those of BaseDriver."""

    def __init__(
        self, name: str, pool: Path | None = None, pools: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        folders = base.pool_names(name, pool, pools)
        super().__init__(
            name,
            {
                each: self._make_pool(base.label(name, each), Path(folder).absolute())
                for each, folder in folders.items()
            },
            **options,
        )
        # Whether snapshots and clones share blocks; do_setup determines it.
        self._instant = False

    def _make_pool(self, name: str, folder: Path) -> PoolFolder:
        return PoolFolder(name, folder)

    @property
    def facts(self) -> DriverFacts:
        """Thin; blocks are shared where every pool's file system has reflinks, which `do_setup` finds out."""
        return DriverFacts(thin=True, shares_blocks=self._instant)

    def do_setup(self) -> None:
        """Create the pools' folders, or check those of existing pools. ConfigError where none of them can hold volumes."""
        super().do_setup()
        self._instant = all(pool.reflinks for pool in self._pools.values() if pool.ready)

    def _set_up(self, pool: PoolFolder) -> None:
        pool.set_up()

    def _check(self, pool: PoolFolder) -> None:
        """One that was not there at the start is set up when it is."""
        if not pool.ready and len(self._pools) > 1:
            pool.set_up()
        pool.check()
        if self._instant and not pool.reflinks and len(self._pools) > 1:
            reason = "its file system shares no blocks, as the backend's other pools do: make it a backend of its own"
            raise errors.BackendUnavailable(backend=pool.name, reason=reason)

    def pool_places(self) -> dict[str, frozenset[str]]:
        """Each pool's folder without links, and its inode where it exists."""
        return {name: pool.places() for name, pool in self._pools.items()}

    def storage_identities(self) -> dict[str, str]:
        """What is written in each pool's folder: whoever mounts it reads the same. Pools that are away are left out."""
        found, _failed = self._tried(lambda _name, pool: pool.identity())
        return found

    def location(self, volume: VolumeRef) -> Location:
        """The volume's file. BackendUnavailable where that is no regular file, or one of several pools lacks it."""
        return Location.file(self._present(self._at(volume.pool), self._volume_path(volume)))

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """The snapshot's file. BackendUnavailable where that is no regular file, or one of several pools lacks it."""
        return Location.file(self._present(self._at(snapshot.pool), self._snapshot_path(snapshot)))

    def _present(self, pool: PoolFolder, path: Path) -> Path:
        """What was moved to another pool is not to be exported as if it was coming back."""
        if len(self._pools) > 1 and not path.exists():
            pool.check()
            raise errors.BackendUnavailable(backend=pool.name, reason=f"{path.name} is not in the pool any more")
        return path

    def _volume_path(self, volume: VolumeRef) -> Path:
        """Whether it exists or not."""
        return self._file_of(volume.pool, volume.id)

    def _file_of(self, pool: str, volume_id: str) -> Path:
        found = self._at(pool)
        return found.plain(found.volume_path(volume_id))

    def _snapshot_path(self, snapshot: SnapshotRef) -> Path:
        """Whether it exists or not."""
        pool = self._at(snapshot.pool)
        return pool.plain(pool.snapshot_path(snapshot.id))

    def list_objects(self) -> list[BackendObject]:
        """All entries of volumes/ and snapshots/. BackendUnavailable when the pool folder is gone."""
        found, _failed = self._tried(self._objects)
        return [each for name in found for each in found[name]]

    def _objects(self, name: str, pool: PoolFolder) -> list[BackendObject]:
        pool.check()
        return [self._describe(name, pool, path, status) for path, status in pool.objects()]

    def create_volume(self, volume: VolumeRef, owner: str) -> ProviderState | None:
        """Create a sparse file of `volume.size` bytes. Conflict for a file of that name with another owner."""
        self._at(volume.pool).make(self._volume_path(volume), volume.size, owner)
        return self._state(volume)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Move the file to the trash; its blocks are freed in the background."""
        pool = self._at(volume.pool)
        pool.discard(pool.volume_path(volume.id))

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Make the file longer. BackendUnavailable where it does not exist."""
        self._at(volume.pool).grow(self._volume_path(volume), new_size)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """Create a file that shares the source's blocks (FICLONE)."""
        pool = self._at_both(volume.pool, source.pool)
        self._share(pool, self._volume_path(volume), volume.size, owner, self._volume_path(source))
        return self._state(volume)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """Create a file that shares the volume's blocks; without reflinks, a sparse file for the manager to fill."""
        pool = self._at(snapshot.pool)
        origin = self._file_of(snapshot.pool, snapshot.volume_id)
        source = origin if self.facts.shares_blocks else None
        self._share(pool, self._snapshot_path(snapshot), snapshot.size, owner, source)
        pool.set_origin(self._snapshot_path(snapshot), snapshot.volume_id)
        return self._state(snapshot)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Move the file to the trash; its blocks are freed in the background."""
        pool = self._at(snapshot.pool)
        pool.discard(pool.snapshot_path(snapshot.id))

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """Create a file that shares the snapshot's blocks (FICLONE)."""
        pool = self._at_both(volume.pool, snapshot.pool)
        self._share(pool, self._volume_path(volume), volume.size, owner, self._snapshot_path(snapshot))
        return self._state(volume)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Replace the file by one that shares the snapshot's blocks: one rename, so all of its bytes or none."""
        pool = self._at_both(volume.pool, snapshot.pool)
        pool.replace(self._volume_path(volume), volume.size, owner, self._snapshot_path(snapshot))

    def migrate_volume(self, volume: VolumeRef, destination: VolumeRef) -> tuple[bool, ProviderState | None]:
        """Rename the file into the folder of the other pool, where both are of one file system."""
        source = self._at(volume.pool)
        source.check()
        pool = self._at(destination.pool)
        if not pool.bring(source.plain(source.volume_path(volume.id)), pool.plain(pool.volume_path(volume.id))):
            return False, None
        return True, self._state(volume)

    # Raw files that an administrator put into volumes/ or snapshots/ of the pool are managed under a new name.

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See Driver.manage_existing. Refuses symbolic links and files with other hard links; misses open files."""
        base.check_type(volume, thin=True)
        self._adopt(self._at(volume.pool), self._volume_path(volume), volume.size, ref, owner)
        return self._state(volume)

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """Bytes of the file, rounded up to whole GiB, at least 1 GiB. InvalidInput where there is no such file."""
        return self._size(self._at(volume.pool), self._volume_path(volume), ref)

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """Remove the owner's mark from the file."""
        self._let_go(self._at(volume.pool), self._volume_path(volume), owner, ref)

    def get_manageable_volumes(self, pool: str | None = None) -> list[Manageable]:
        """The regular files in volumes/ of this pool, or of all that are there."""
        return self._manageable("volumes", pool)

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> ProviderState | None:
        """See `manage_existing`; also marks the file with its volume's id."""
        pool = self._at(snapshot.pool)
        self._adopt(pool, self._snapshot_path(snapshot), snapshot.size, ref, owner)
        pool.set_origin(self._snapshot_path(snapshot), snapshot.volume_id)
        return self._state(snapshot)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """See `manage_existing_get_size`."""
        return self._size(self._at(snapshot.pool), self._snapshot_path(snapshot), ref)

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """Remove the marks of owner and volume from the file."""
        self._let_go(self._at(snapshot.pool), self._snapshot_path(snapshot), owner, ref)

    def get_manageable_snapshots(self, pool: str | None = None) -> list[Manageable]:
        """The regular files in snapshots/ of this pool, or of all that are there."""
        return self._manageable("snapshots", pool)

    def _state(self, _made: VolumeRef | SnapshotRef) -> ProviderState | None:
        """What is to be kept of a new object: nothing, because its file has its id."""
        return None

    def _adopt(self, pool: PoolFolder, path: Path, size: int, ref: dict[str, str], owner: str) -> None:
        source = path.with_name(base.source_name(ref))
        if pool.owner(path) != owner:
            self._check_free(pool, source, ref, owner)
        pool.adopt(source, path, owner)
        pool.grow(path, size)

    def _size(self, pool: PoolFolder, path: Path, ref: dict[str, str]) -> int:
        """The size of the object under either name, in bytes: a killed attempt may have renamed it."""
        pool.check()
        source = path.with_name(base.source_name(ref))
        found = path if path.exists() else source
        if not found.is_file() or found.is_symlink():
            raise base.bad_reference(ref, f"there is no file {source.name} in {source.parent.name} of the pool")
        return max(1, to_gib(found.stat().st_size)) * GiB

    def _check_free(self, pool: PoolFolder, source: Path, ref: dict[str, str], owner: str) -> None:
        if not source.is_file() or source.is_symlink():
            raise base.bad_reference(ref, f"there is no file {source.name} in {source.parent.name} of the pool")
        holder = pool.owner(source)
        if holder not in (None, owner):
            raise base.managed(source.name, str(holder))
        if holder is None and source.stat().st_nlink > 1:
            raise base.bad_reference(ref, "the file has another hard link, through which it may be in use")

    def _let_go(self, pool: PoolFolder, path: Path, owner: str | None, ref: dict[str, str] | None) -> None:
        pool.release(path, owner, path.with_name(base.source_name(ref)) if ref else None)

    def _manageable(self, folder: str, pool: str | None) -> list[Manageable]:
        found, _failed = self._tried(lambda name, each: self._files(name, each, folder), pool)
        return [each for files in found.values() for each in files]

    def _files(self, name: str, pool: PoolFolder, folder: str) -> list[Manageable]:
        pool.check()
        return [
            Manageable(
                reference={base.SOURCE_NAME: path.name},
                size=status.st_size,
                pool=name,
                reason="it is managed already" if pool.owner(path) else "",
                id=(names.parse_name(path.name) or ("", None))[1],
            )
            for path, status in pool.objects()
            if path.parent.name == folder and path.is_file() and not path.is_symlink()
        ]

    def _share(self, pool: PoolFolder, path: Path, size: int, owner: str, source: Path | None) -> None:
        if source is not None and not source.exists():
            pool.check()
            raise errors.BackendUnavailable(backend=pool.name, reason=f"{source.name} is not in the pool any more")
        pool.make(path, size, owner, source)

    def _describe(self, name: str, pool: PoolFolder, path: Path, status: os.stat_result) -> BackendObject:
        kind, id = names.parse_name(path.name) or ("other", None)
        origin = pool.origin(path) if kind == "snapshot" else None
        return BackendObject(kind, id, pool.owner(path), path.name, status.st_size, name, origin=origin)

    def _measure(self, name: str, pool: PoolFolder) -> PoolStats:
        pool.check()
        room = os.statvfs(pool.folder)
        found = list(pool.objects())
        return PoolStats(
            name=name,
            total=room.f_blocks * room.f_frsize,
            free=room.f_bavail * room.f_frsize,
            provisioned=sum(status.st_size for _, status in found),
            allocated=sum(status.st_blocks * 512 for _, status in found),
            volumes=sum(1 for path, _ in found if path.parent.name == "volumes"),
            reserved_percentage=self._reserved,
            max_over_subscription_ratio=self._ratio,
        )
