"""A folder of sparse files with owners: the mechanics that the file driver and the simulator share.

    <pool>/.nbdsvc-pool      the pool's name; its absence means "not mounted", never "make an empty one"
    <pool>/.nbdsvc-pool-id   what the folder is known by on every host that mounts it; made when one asks
    <pool>/volumes/ snapshots/
    <pool>/new/              objects being made: NAME.OWNER.ATTEMPT. No two attempts write into one file: another host may
                             have published it, and the first one may not have been as dead as it was said to be
    <pool>/trash/            objects being removed: a big file takes the kernel seconds to free

The owner is an extended attribute of the file itself, so that object and owner appear in one step, by link(2).
"""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from drivers import marks
from drivers.marks import ORIGIN, OWNER
from nbdsvc import atomic_file, errors
from nbdsvc.model import names

MARKER = ".nbdsvc-pool"
IDENTITY = f"{MARKER}-id"
# From linux/fs.h: _IOW(0x94, 9, int). Shares all blocks of one file with another one of the same file system.
FICLONE = 0x40049409
# What an empty folder may have: the file system's own, and the marker that another host is writing.
_OURS = ("lost+found", MARKER, f".{MARKER}")
_FOLDERS = ("volumes", "snapshots", "new", "trash")


class PoolFolder:
    """One pool folder. `name` is the pool's in messages and in the marker: BACKEND, or BACKEND#POOL."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        # The abilities of the file system, known once the pool is ready.
        self.ready = self.reflinks = False

    def set_up(self) -> None:
        """Make the folders of a new pool, or check those of an old one; learn what the file system can do."""
        with self._translated(0):
            if not (self.folder / MARKER).exists():
                self._initialise()
            for folder in _FOLDERS:
                (self.folder / folder).mkdir(mode=0o700, exist_ok=True)
            self.reflinks = self._probe()
            self.empty_trash()
            self.ready = True

    def check(self) -> None:
        """BackendUnavailable when the folder is gone: unmounted, renamed or emptied behind our back."""
        if not (self.folder / MARKER).is_file():
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"pool folder {self.folder} is gone or not mounted (no {MARKER} in it)"
            )

    def places(self) -> frozenset[str]:
        """What the folder is known by: its path without links, and its inode where it exists."""
        found = {os.path.realpath(self.folder)}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = self.folder.stat()
            found.add(f"inode {status.st_dev}:{status.st_ino}")
        return frozenset(found)

    def identity(self) -> str:
        """The folder's own id, made where there is none: of hosts that make it at once, one does. BackendUnavailable."""
        self.check()
        path = self.folder / IDENTITY
        with self._translated(0):
            if not path.exists():
                self._identify(path)
            return path.read_text().strip()

    def _identify(self, path: Path) -> None:
        made = str(uuid.uuid4())
        part = self.folder / "new" / f"{path.name}.{made}"
        atomic_file.write(part, made.encode())
        with contextlib.suppress(FileExistsError):  # another host was faster
            os.link(part, path)
        part.unlink()
        atomic_file.sync_folder(self.folder)

    def volume_path(self, volume_id: str) -> Path:
        """Path of the volume's file, whether it exists or not."""
        return self.folder / "volumes" / names.volume_name(volume_id)

    def snapshot_path(self, snapshot_id: str) -> Path:
        """Path of the snapshot's file, whether it exists or not."""
        return self.folder / "snapshots" / names.snapshot_name(snapshot_id)

    def plain(self, path: Path) -> Path:
        """The path; BackendUnavailable where a link, a pipe or anything else took the place of the object's file."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISREG(path.lstat().st_mode):
                reason = f"{path.name} in its pool is no regular file: something has replaced it"
                raise errors.BackendUnavailable(backend=self.name, reason=reason)
        return path

    def make(self, path: Path, size: int, owner: str, source: Path | None = None) -> None:
        """An object of `size` bytes with the bytes of `source` (its blocks shared) or zeros. There and mine: success."""
        self.check()
        if self._is_mine(path, owner):
            self._begin(path, owner)  # what an earlier attempt left that was killed in the middle of _publish
            return
        with self._translated(size):
            temporary = self._begin(path, owner)
            self._write(temporary, size, owner, source)
            self._publish(temporary, path, owner)

    def replace(self, path: Path, size: int, owner: str, source: Path) -> None:
        """The bytes of `source` in place of an object's own, which stays its owner's. Whole before and whole after."""
        self.check()
        keeper = self.owner(path)
        if keeper is None or not source.exists():
            gone = source if keeper else path
            raise errors.BackendUnavailable(backend=self.name, reason=f"{gone.name} is not in the pool any more")
        with self._translated(size):
            temporary = self._begin(path, owner)
            self._write(temporary, size, keeper, source)
            temporary.replace(path)
            atomic_file.sync_folder(path.parent)

    def mirror(self, source: Path, path: Path) -> None:
        """A copy of another folder's object, in place of an earlier one. FileNotFoundError where the source is gone."""
        keeper = self.owner(source)
        if keeper is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        with self._translated(source.stat().st_size):
            temporary = self._begin(path, "mirror")
            self._write(temporary, source.stat().st_size, keeper, source)
            temporary.replace(path)

    def adopt(self, source: Path, path: Path, owner: str) -> None:
        """Give a file without an owner to `owner`, as `path`. Marked first, so that a repeated call finds it. Conflict for
        one that has another owner.
        """
        self.check()
        with self._translated(0):
            if not self._is_mine(path, owner):
                self._claim(source, owner)
                os.link(source, path, follow_symlinks=False)
            source.unlink(missing_ok=True)
            atomic_file.sync_folder(path.parent)

    def _claim(self, source: Path, owner: str) -> None:
        """Of two hosts that share the folder and adopt one file at once, one gets it: else it would be two volumes."""
        try:
            os.setxattr(source, OWNER, owner.encode(), os.XATTR_CREATE, follow_symlinks=False)
        except FileExistsError:
            if self.owner(source) != owner:
                raise errors.Conflict(reason=f"{source.name} in pool {self.name} has another owner by now") from None

    def release(self, path: Path, owner: str | None, back: Path | None) -> None:
        """Remove the marks from the file, which keeps its name or gets `back`. With `owner`: only from its own file."""
        self.check()
        with self._translated(0):
            for found in (path, back):
                if found is None or not found.exists() or (owner is not None and self.owner(found) != owner):
                    continue
                if back is not None and found != back:
                    self._move(found, back)
                for mark in (OWNER, ORIGIN):
                    marks.remove(back or found, mark)
            atomic_file.sync_folder(path.parent)

    def bring(self, source: Path, path: Path) -> bool:
        """Move an object's file here from another pool; there already: success. False where that is another file system.

        Conflict for another object of that name. BackendUnavailable where there is none to be moved.
        """
        self.check()
        if not source.exists():
            if not path.exists():
                raise errors.BackendUnavailable(backend=self.name, reason=f"{source.name} is in neither of the pools")
            return True
        if path.exists() and not path.samefile(source):
            raise errors.Conflict(reason=f"{path.name} exists in pool {self.name} already, as another object")
        with self._translated(0):
            try:
                self._move(source, path)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return False
                raise
            for folder in (path.parent, source.parent):
                atomic_file.sync_folder(folder)
        return True

    def _move(self, path: Path, back: Path) -> None:
        """Rename by link(2) and unlink(2): never replaces a file that has the name meanwhile."""
        if not (back.exists() and back.samefile(path)):
            os.link(path, back)
        path.unlink()

    def copy(self, source_fd: int, fd: int) -> None:
        """Share the blocks. Every write to the source that has returned is in the copy: same page cache, same inode."""
        os.fsync(source_fd)
        fcntl.ioctl(fd, FICLONE, source_fd)

    def grow(self, path: Path, size: int) -> None:
        """Grow the file to at least `size` bytes; new bytes read as zeros. Never shrinks."""
        self.check()
        with self._translated(size), self._existing(path, os.O_RDWR) as fd:
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
                os.fsync(fd)

    def discard(self, path: Path) -> None:
        """Remove at once for the caller: a rename. The blocks are freed in the background."""
        self.check()
        with self._translated(0), contextlib.suppress(FileNotFoundError):
            for unfinished in (self.folder / "new").glob(f"{path.name}.*"):
                unfinished.unlink(missing_ok=True)
            path.rename(self.folder / "trash" / f"{path.name}.{uuid.uuid4().hex}")
            atomic_file.sync_folder(path.parent)
            threading.Thread(target=self.empty_trash, name="trash", daemon=True).start()

    def empty_trash(self) -> None:
        """Remove the files in trash/, which frees their blocks. OSError where there is no such folder."""
        for path in (self.folder / "trash").iterdir():
            path.unlink(missing_ok=True)

    def set_origin(self, path: Path, volume_id: str) -> None:
        """Store the id of a snapshot's volume with its file. BackendUnavailable where the file does not exist."""
        with self._translated(0):
            os.setxattr(path, ORIGIN, volume_id.encode(), follow_symlinks=False)

    def owner(self, path: Path) -> str | None:
        """Id of the operation that made or adopted the file; None without a mark, and where there is no file."""
        return self._mark(path, OWNER)

    def origin(self, path: Path) -> str | None:
        """Id of a snapshot's volume; None without a mark, and where there is no file."""
        return self._mark(path, ORIGIN)

    def _mark(self, path: Path, name: str) -> str | None:
        with self._translated(0):
            return marks.read(path, name)

    def objects(self) -> Iterator[tuple[Path, os.stat_result]]:
        """All published objects with their stat."""
        for folder in ("volumes", "snapshots"):
            for path in (self.folder / folder).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.lstat()

    def _initialise(self) -> None:
        """Write the marker into a folder that is new or empty. ConfigError for one that holds other files."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        foreign = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(_OURS))
        if foreign:
            reason = f"{self.folder} is neither empty nor a pool of nbdsvc: it holds {foreign[0]}"
            raise errors.ConfigError(setting="pool", reason=f"backend {self.name}: {reason}")
        atomic_file.write(self.folder / MARKER, f"{self.name}\n".encode())

    def _probe(self) -> bool:
        """Whether the file system can share blocks. ConfigError where it keeps no extended attributes."""
        source, target = (self.folder / "new" / f".probe-{uuid.uuid4().hex}-{end}" for end in ("a", "b"))
        has_owners = False
        try:
            source.touch()  # both files stay empty, so that a full pool does not prevent serving its volumes
            target.touch()
            os.setxattr(source, OWNER, b"probe")
            has_owners = True
            with source.open("rb") as from_file, target.open("r+b") as to_file:
                fcntl.ioctl(to_file.fileno(), FICLONE, from_file.fileno())
            return True
        except OSError as error:
            if has_owners and error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL):
                return False
            reason = f"backend {self.name}: {self.folder} cannot hold volumes: {error.strerror}"
            raise errors.ConfigError(setting="pool", reason=reason) from error
        finally:
            source.unlink(missing_ok=True)
            target.unlink(missing_ok=True)

    def _is_mine(self, path: Path, owner: str) -> bool:
        if not os.path.lexists(path):
            return False
        if not stat.S_ISREG(path.lstat().st_mode) or self.owner(path) != owner:
            raise errors.Conflict(reason=f"{path.name} exists in pool {self.name} and has another owner")
        return True

    def _begin(self, path: Path, owner: str) -> Path:
        """The path of a new attempt's file. Those of earlier attempts go: whoever makes one still can neither publish it nor
        put it in place of the object.
        """
        for earlier in (self.folder / "new").glob(f"{path.name}.{owner}*"):
            earlier.unlink(missing_ok=True)
        return self.folder / "new" / f"{path.name}.{owner}.{uuid.uuid4().hex}"

    def _write(self, temporary: Path, size: int, owner: str, source: Path | None) -> None:
        with self._opened(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
            if source is not None:
                with self._opened(source, os.O_RDONLY) as source_fd:
                    self.copy(source_fd, fd)
            os.ftruncate(fd, size)
            os.setxattr(fd, OWNER, owner.encode())
            os.fsync(fd)

    def _publish(self, temporary: Path, path: Path, owner: str) -> None:
        try:
            os.link(temporary, path)
        except FileExistsError:
            self._is_mine(path, owner)
        temporary.unlink()
        atomic_file.sync_folder(path.parent)

    @contextlib.contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int]:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _existing(self, path: Path, flags: int) -> Iterator[int]:
        try:
            with self._opened(path, flags) as fd:
                yield fd
        except FileNotFoundError as error:
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"{path.name} is not in the pool any more"
            ) from error

    @contextlib.contextmanager
    def _translated(self, size: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise errors.OutOfSpace(
                    pool=self.name, requested=size, free=None, reason=os.strerror(error.errno)
                ) from error
            raise errors.BackendUnavailable(backend=self.name, reason=str(error)) from error
