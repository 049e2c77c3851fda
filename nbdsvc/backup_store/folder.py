"""A folder as a store: a file system of this host, or one that hosts share, for example by NFS.

An object is written beside its name and synced before it gets it. A file in the folder says which store it is, and a
note in the state folder which one this host uses: so the mount point of a file system that is not mounted is not taken
for an empty store. NFS: mount without `nocto` and `nolock`; a folder is opened anew for each listing, and close-to-open
consistency makes that a request to the server.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import atomic_file, errors
from nbdsvc.backup_store import identity
from nbdsvc.backup_store.contract import Missing, TooLarge

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PART = ".part"
# What a folder may have that is to become a store: the mark, where another host was first.
_NOT_OTHERS = ("lost+found", identity.MARK)
# Seconds after which the file of a writer is one that was killed: a chunk is written within seconds.
_ABANDONED_SECONDS = 24 * 3600


class FolderStore:
    """A folder. note: a file of this host's state folder, which remembers the store's id."""

    moves_at_once = True
    hint = "is its file system mounted?"

    def __init__(self, root: Path, note: Path) -> None:
        self.name = "backup store"
        self.where = str(root)
        self._root = root
        self._note = note

    def is_known(self) -> bool:
        return self._note.exists()

    def check(self) -> str:
        """As of BackupStore. The first check of an empty folder makes the store."""
        with self._translated():
            return identity.check(self, self._note)

    def put(self, name: str, content: bytes) -> None:
        path = self._root / name
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_PART}")
        with self._translated():
            try:
                self._write(part, content)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def get(self, name: str, most: int) -> bytes:
        with self._translated(), (self._root / name).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise TooLarge(size, most)
            return file.readall()

    def head(self, name: str, length: int) -> tuple[bytes, int]:
        with self._translated(), (self._root / name).open("rb", buffering=0) as file:
            return file.read(length) or b"", os.fstat(file.fileno()).st_size

    def names(self, folder: str) -> Iterator[str]:
        with self._translated():
            found = self._listed(folder)
        yield from (name for name in found if not name.startswith("."))

    def _listed(self, folder: str) -> list[str]:
        """Through one descriptor of the root, of which the mark says that it is the store: the mount point of a store that is
        not mounted, for a moment, would say that no backup needs anything.
        """
        try:
            with _opened(self._root) as root:
                try:
                    with _opened(folder, root) as fd:
                        return os.listdir(fd)  # noqa: PTH208 - a path of each of many names costs too much
                except FileNotFoundError:
                    os.stat(identity.MARK, dir_fd=root)
                    return []
        except FileNotFoundError as error:
            reason = f"{self._root} is not the store that this host uses; is its file system mounted?"
            raise errors.BackendUnavailable(backend=self.name, reason=reason) from error

    def move(self, name: str, new: str) -> bool:
        target = self._root / new
        try:
            with self._translated():
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                (self._root / name).replace(target)
        except Missing:
            return False
        return True

    def remove(self, name: str) -> bool:
        try:
            with self._translated():
                (self._root / name).unlink()
        except Missing:
            return False
        return True

    def remove_folder(self, folder: str) -> None:
        try:
            (self._root / folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST):
                raise self._error(error) from error

    def sync(self, folder: str) -> None:
        try:
            with self._translated():
                atomic_file.sync_folder(self._root / folder)
        except Missing:
            return

    def sweep(self, folder: str) -> int:
        """As of BackupStore. By the clock of the file system, which is the server's."""
        with self._translated():
            parts = [path for path in (self._root / folder).glob(f".*{_PART}") if path.is_file()]
            if not parts:
                return 0
            probe = self._root / folder / f".{uuid.uuid4().hex}{_PART}"
            self._write(probe, b"")
            now = probe.stat().st_mtime
            probe.unlink()
            old = [part for part in parts if now - _modified(part, now) > _ABANDONED_SECONDS]
            for part in old:
                part.unlink(missing_ok=True)
            return len(old)

    def _write(self, part: Path, content: bytes) -> None:
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fdatasync(fd)

    def read_mark(self) -> bytes | None:
        """As of Markable."""
        try:
            return (self._root / identity.MARK).read_bytes()
        except FileNotFoundError:
            return None

    def make_mark(self, content: bytes) -> None:
        """As of Markable."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(not name.startswith(".") and name not in _NOT_OTHERS for name in os.listdir(self._root)):  # noqa: PTH208
            reason = f"{self._root} has other files in it, and is no store of backups: name an empty folder"
            raise errors.BackendUnavailable(backend=self.name, reason=reason)
        part = self._root / f".{uuid.uuid4().hex}{_PART}"
        self._write(part, content)
        try:
            os.link(part, self._root / identity.MARK)
        except FileExistsError:
            pass
        finally:
            part.unlink()
        atomic_file.sync_folder(self._root)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Missing(error.filename) from error
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> errors.BackendError:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            return errors.OutOfSpace(pool=self.name, requested=None, free=None, reason=reason)
        return errors.BackendUnavailable(backend=self.name, reason=f"{self._root}: {reason}")


@contextmanager
def _opened(path: "str | Path", root: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        yield fd
    finally:
        os.close(fd)


def _modified(path: Path, otherwise: float) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return otherwise
