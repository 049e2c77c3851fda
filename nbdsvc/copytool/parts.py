"""A new file that appears under its name when it is complete: written as a part in the same folder, then renamed.

A part is recognised by a mark (an extended attribute) or by a journal that belongs to it; any other file of that name
is foreign, and is refused. The new file gets the mode, owner and attributes of the file that it replaces. When the path
is a symbolic link, its target is replaced; other hard links of the replaced file keep the old bytes.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdsvc import atomic_file, errors
from nbdsvc.copytool import busy

_SUFFIX = ".nbdsvc-part"
_MARK = "user.nbdsvc.part"
# Errors of file systems that have no extended attributes or no hard links, or do not permit them.
_CANNOT = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL)
_KEPT_ATTRIBUTES = ("user.", "system.posix_acl_access", "security.selinux")
_NEW_MODE = 0o644
_LONGEST_NAME = 255
# Paths that cannot become a file: (test of the mode that stat returns, message).
_NOT_FILES = (
    (stat.S_ISDIR, "it is a folder: name the file in it"),
    (stat.S_ISSOCK, "it is a socket: an NBD server behind it is nbd+unix:///?socket=PATH"),
    (stat.S_ISCHR, "it is a character device"),
)


def judge(path: str, replace: bool) -> Path:
    """The path of the new file; symbolic links are followed when it replaces a file.

    Raises Conflict, InvalidInput or WriteFailed.
    """
    if path.endswith("/"):
        raise errors.InvalidInput(field="DESTINATION", value=path, reason="it is a folder: name the file in it")
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        if Path(path).is_symlink():
            reason = f"{path} is a link to {Path(path).readlink()}, which is not there"
            raise errors.Conflict(reason=reason) from None
        return Path(path)
    except OSError as error:
        raise failed(path, error) from error
    for kind, reason in _NOT_FILES:
        if kind(found.st_mode):
            raise errors.InvalidInput(field="DESTINATION", value=path, reason=f"{path}: {reason}")
    if not replace:
        raise errors.Conflict(reason=f"{path} exists")
    return Path(os.path.realpath(path))


class Part:
    """A locked part. `path`: the part's; `fd`: open for reading and writing; `whole`: the path of the complete file."""

    def __init__(self, path: Path, fd: int, whole: Path) -> None:
        self.path = path
        self.fd = fd
        self.whole = whole


@contextmanager
def open_part(path: Path, is_known: Callable[[int], bool], keeps: Callable[[], bool]) -> Iterator[Part]:
    """A block with the part of `path`. Without an exception, the part gets its name at the end of the block.

    After an exception the part is removed, unless `keeps()` is true. is_known: whether an existing part without a mark
    belongs to this copy. Raises Conflict, DeviceBusy or WriteFailed.
    """
    replaced = _status(path)
    if replaced:
        busy.check_file(path)
    name = part_of(path)
    with _said(path):
        fd = _open(name, is_known)
    try:
        with _said(path):
            _lock(fd, name)
        try:
            if replaced:
                _give(fd, path, replaced)
            yield Part(name, fd, path)
            with _said(path):
                _dress(fd, path, replaced)
                _name(fd, name, path, replaced is not None)
        except BaseException:
            if not keeps():
                name.unlink(missing_ok=True)
            raise
    finally:
        os.close(fd)


def part_of(path: Path) -> Path:
    """Path of the part of `path`."""
    return path.with_name(_part_name(path.name))


def make_empty(part: Part, size: int) -> None:
    """Make the part a hole of `size` bytes. WriteFailed, also where the file system has no sparse files."""
    with _said(part.whole):
        os.ftruncate(part.fd, 0)
        os.ftruncate(part.fd, size)


def _part_name(name: str) -> str:
    wanted = f".{name}{_SUFFIX}"
    if len(os.fsencode(wanted)) <= _LONGEST_NAME:
        return wanted
    import hashlib

    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}{_SUFFIX}"


def _open(part: Path, is_known: Callable[[int], bool]) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        with contextlib.suppress(FileExistsError):
            return _marked(os.open(part, flags | os.O_CREAT | os.O_EXCL, 0o600))
        fd = os.open(part, flags)
    except OSError as error:
        if part.is_symlink() or part.is_dir():
            raise _foreign(part) from error
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or not (_is_marked(fd) or is_known(fd)):
            raise _foreign(part)
        if status.st_nlink == 1:
            return fd
        # The process was killed between link and unlink: the complete file has its own name already.
        part.unlink()
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return _open(part, is_known)


def _foreign(part: Path) -> errors.Conflict:
    return errors.Conflict(
        reason=f"{part} is in the way: it is no part of ours, or one without a mark; remove it if it is not needed"
    )


def _marked(fd: int) -> int:
    with contextlib.suppress(OSError):  # without the mark, a part that a kill leaves is refused later, see _foreign
        os.setxattr(fd, _MARK, b"1")
    return fd


def _is_marked(fd: int) -> bool:
    try:
        return os.getxattr(fd, _MARK) == b"1"
    except OSError:
        return False


def _lock(fd: int, part: Path) -> None:
    """Lock the part against a second copy to the same name, which gets Conflict."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), part.lstat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise errors.Conflict(reason=f"another copy is writing {part}")


def _dress(fd: int, path: Path, replaced: os.stat_result | None) -> None:
    if replaced is None:
        umask = os.umask(0o077)
        os.umask(umask)
        os.fchmod(fd, _NEW_MODE & ~umask)
        return
    os.fchmod(fd, stat.S_IMODE(replaced.st_mode))
    for name in _attributes(path):
        os.setxattr(fd, name, os.getxattr(path, name))


def _attributes(path: Path) -> list[str]:
    try:
        return [name for name in os.listxattr(path) if name.startswith(_KEPT_ATTRIBUTES) and name != _MARK]
    except OSError:
        return []


def _name(fd: int, part: Path, path: Path, replaces: bool) -> None:
    """Give the part its name. Raises Conflict when another program has made a file of that name meanwhile."""
    os.fsync(fd)
    if replaces or not _linked(part, path):
        part.replace(path)
    with contextlib.suppress(OSError):
        os.removexattr(fd, _MARK)
    atomic_file.sync_folder(path.parent)


def _linked(part: Path, path: Path) -> bool:
    """Take a free name by a hard link, because a rename could replace a file. False where there are no hard links."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise errors.Conflict(reason=f"{path} was made by another program meanwhile") from None
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        if os.path.lexists(path):
            raise errors.Conflict(reason=f"{path} was made by another program meanwhile") from None
        return False
    part.unlink()
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _give(fd: int, path: Path, replaced: os.stat_result) -> None:
    """Give the file the owner of the replaced one; before the copy, so that WriteFailed comes before the work."""
    now = os.fstat(fd)
    if (now.st_uid, now.st_gid) == (replaced.st_uid, replaced.st_gid):
        return
    try:
        os.fchown(fd, replaced.st_uid, replaced.st_gid)
    except OSError as error:
        reason = f"its owner {replaced.st_uid}:{replaced.st_gid} cannot be kept: {error.strerror}"
        raise errors.WriteFailed(destination=str(path), offset=0, reason=reason) from error


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise failed(path, error) from error


def failed(path: str | Path, error: OSError) -> errors.WriteFailed:
    """The WriteFailed error for an OSError of the destination, to be raised by the caller."""
    return errors.WriteFailed(destination=str(path), offset=0, reason=error.strerror or str(error))
