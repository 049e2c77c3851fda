"""The bounded place on disk for images that cannot be read where they are: compressed, or from a server without ranges.

A spooled image is a file without a name, which ends with its last reader, also after a SIGKILL; zeros take no room in it.
"""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import errors
from nbdsvc.units import KiB, MiB

_GRAIN = 64 * KiB
PIECE = MiB
_PREFIX = "nbdsvc-image-"
_GRACE_SECONDS = 60


class Spool:
    """At most `most` bytes at once, of all images together; 0: none. setting: its name, for refusals.

    folder: where they stand; None: in the temporary folder.
    """

    def __init__(self, folder: Path | None, most: int, setting: str) -> None:
        self._place, self._most, self._setting = folder, most, setting
        self._used = 0
        self._lock = threading.Lock()

    @property
    def _folder(self) -> Path:
        import tempfile  # imported here: it loads OpenSSL, which most copies do not need

        return self._place or Path(tempfile.gettempdir())

    def check(self, name: str, why: str) -> None:
        """BadImage where the operator allows no spool."""
        if not self._most:
            raise errors.BadImage(image=name, reason=f"{why}, and {self._setting} allows no room for that")

    def make(self) -> int:
        """Create an empty file without a name; returns its descriptor. WriteFailed."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self.full(error) from error

    def take(self, length: int, name: str) -> None:
        """Count `length` bytes before they are kept; BadImage when all images together would have too many."""
        with self._lock:
            if self._used + length > self._most:
                reason = f"it needs more room than {self._setting} allows for all such images: {self._most} bytes"
                raise errors.BadImage(image=name, reason=reason)
            self._used += length

    def give_back(self, length: int) -> None:
        """Release `length` bytes that `take` counted."""
        with self._lock:
            self._used -= length

    def keep(self, fd: int, piece: bytes, at: int) -> None:
        """Write the piece at byte `at`, but its grains of zeros. WriteFailed."""
        try:
            for start in range(0, len(piece), _GRAIN):
                part = piece[start : start + _GRAIN]
                done = len(part) if part.count(0) == len(part) else 0
                while done < len(part):
                    done += os.pwrite(fd, part[done:], at + start + done)
        except OSError as error:
            raise self.full(error) from error

    def end(self, fd: int, size: int) -> None:
        """Set the file's size in bytes, which counts zeros at its end. WriteFailed."""
        try:
            os.ftruncate(fd, size)
        except OSError as error:
            raise self.full(error) from error

    def make_folder(self) -> Path:
        """Create a folder for a child, after removing those of dead processes. WriteFailed."""
        import tempfile

        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.sweep()
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
        except OSError as error:
            raise self.full(error) from error

    def sweep(self) -> None:
        """Remove our folders that no process has locked: their makers were killed. Those of the last minute stay."""
        for path in self._folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _GRACE_SECONDS:
                    _remove_unheld(path)

    @contextmanager
    def named(self, fd: int) -> Iterator[int]:
        """The file has a name meanwhile, for a child that opens it: a descriptor that was opened by that name."""
        folder = self.make_folder()
        path = folder / "image"
        try:
            own = os.open("/proc/self/fd", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.link(str(fd), path, src_dir_fd=own)
            finally:
                os.close(own)
            other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise self.full(error) from error
        try:
            yield other
        finally:
            os.close(other)
            shutil.rmtree(folder, ignore_errors=True)

    def full(self, error: OSError) -> errors.WriteFailed:
        """The WriteFailed error for an OSError of the spool's folder, to be raised by the caller."""
        where = f"a temporary file in {self._folder}"
        return errors.WriteFailed(destination=where, offset=0, reason=error.strerror or str(error))


def _remove_unheld(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


NO_SPOOL = Spool(None, 0, "none")
