"""The file that `--journal` names, by which a killed copy resumes: it belongs to one source and one destination.

The core writes the journal (native/copy/journal.h); this module decides whether a file may be used as the journal. A
file that is no journal, or the journal of another copy, is refused and not changed. The fingerprint in the header has
three digests: 12 bytes of the source's, 10 of the destination's place, 10 of the identity of the part written there.
"""

import contextlib
import fcntl
import os
import stat
import struct
from pathlib import Path

from nbdsvc import errors
from nbdsvc.datapath.digests import CHUNK

_MAGIC, _FAMILY = b"NBDSVCJ1", b"NBDSVCJ"
# magic, chunk, size, fingerprint, zero; in the byte order of the host.
_HEAD = struct.Struct("=8sQQ32sQ")
_SOURCE, _PLACE, _PART = 12, 10, 10


class Journal:
    """A locked journal whose header was checked against this copy. Use it as a context manager.

    path: the journal's, which need not exist. source: bytes that change with the source's content. place: names the
    destination. size: bytes of the destination. Raises Conflict for a file that is not the journal of this copy.
    """

    def __init__(self, path: Path, source: bytes, place: str, size: int) -> None:
        self.path = path
        self._size = size
        self._copy = _digest(source, _SOURCE) + _digest(place.encode(errors="surrogateescape"), _PLACE)
        self._part = b""
        self.fd = _open(path)
        if self.fd is not None:
            try:
                self._part = self._judge(self.fd)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal, which unlocks it; the file stays. May be called again."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def knows(self, part: str) -> bool:
        """Whether the journal belongs to the part with this `identity` ("" for a device or export)."""
        return self.fd is not None and self._part == _digest(part.encode(), _PART)

    def begin(self, part: str, anew: bool) -> tuple[int, bytes]:
        """The descriptor and the fingerprint for a copy to this part; a new, empty journal with `anew`.

        Raises Conflict or WriteFailed when the journal cannot be created.
        """
        fingerprint = self._copy + _digest(part.encode(), _PART)
        if anew or self.fd is None:
            self.remove()
            self.fd = self._create(fingerprint)
        return self.fd, fingerprint

    def remove(self) -> None:
        """Remove the journal: the copy is complete, or begins anew. Another file that has its name by now stays."""
        if self.fd is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self.fd), self.path.lstat()):
                self.path.unlink()
        self.close()

    def _judge(self, fd: int) -> bytes:
        """The digest of the journal's part. Raises Conflict when the file is no journal, or not that of this copy."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(self.path, "it is not a file")
        head = os.pread(fd, _HEAD.size, 0)
        if head[: len(_FAMILY)] != _FAMILY:
            raise _refused(self.path, "it is not a journal of a copy: name a file that does not exist yet")
        if head[: len(_MAGIC)] != _MAGIC:
            raise _refused(self.path, "it is a journal of another version of nbdsvc")
        whole = _HEAD.size + _bitmap(struct.unpack_from("=Q", head, 16)[0]) if len(head) == _HEAD.size else -1
        if status.st_size != whole:
            raise _refused(self.path, "it is a damaged journal: remove it to begin anew")
        _, chunk, size, fingerprint, _ = _HEAD.unpack(head)
        if (chunk, size, fingerprint[: _SOURCE + _PLACE]) != (CHUNK, self._size, self._copy):
            reason = "it is the journal of another copy, or the source has changed since: remove it to begin anew"
            raise _refused(self.path, reason)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refused(self.path, "another copy is using it") from None
        return bytes(fingerprint[_SOURCE + _PLACE :])

    def _create(self, fingerprint: bytes) -> int:
        """Create the journal completely or not at all, and never over another file. Raises Conflict or WriteFailed."""
        content = _HEAD.pack(_MAGIC, CHUNK, self._size, fingerprint, 0) + bytes(_bitmap(self._size))
        try:
            fd = _create(self.path, content)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileExistsError:
            raise _refused(self.path, "it has just been made by another program") from None
        except OSError as error:
            raise _failed(self.path, error) from error
        return fd


def identity(fd: int) -> str:
    """A value that distinguishes a file from a later one of the same name, even with the same inode number."""
    status, generation = os.fstat(fd), bytearray(8)
    with contextlib.suppress(OSError):  # tmpfs and network file systems have no generation, nor reuse inodes soon
        fcntl.ioctl(fd, _FS_IOC_GETVERSION, generation)
    return f"{status.st_dev}:{status.st_ino}:{generation.hex()}"


# _IOR('v', 1, long) of linux/fs.h
_FS_IOC_GETVERSION = 0x80087601


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise _refused(path, "it is a link") from error
        raise _refused(path, error.strerror or str(error)) from error


def _create(path: Path, content: bytes) -> int:
    try:
        fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        unnamed = True
    except OSError:  # no O_TMPFILE on this file system: a kill now leaves a journal that is refused as damaged
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        unnamed = False
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        if unnamed:
            _link(fd, path)
    except BaseException:
        os.close(fd)
        if not unnamed:
            path.unlink(missing_ok=True)
        raise
    return fd


def _link(fd: int, path: Path) -> None:
    """Link an O_TMPFILE file to its name. os.link follows the link in /proc only with a descriptor of the folder."""
    folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), path, src_dir_fd=folder)
    finally:
        os.close(folder)


def _bitmap(size: int) -> int:
    return (-(-size // CHUNK) + 7) // 8


def _digest(content: bytes, length: int) -> bytes:
    import hashlib  # hashlib loads OpenSSL, which a copy without a journal does not need

    return hashlib.sha256(content).digest()[:length]


def _refused(path: Path, reason: str) -> errors.Conflict:
    return errors.Conflict(reason=f"--journal {path}: {reason}")


def _failed(path: Path, error: OSError) -> errors.WriteFailed:
    return errors.WriteFailed(destination=f"the journal {path}", offset=0, reason=error.strerror or str(error))
