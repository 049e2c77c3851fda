"""The state folder: readable by its owner only, whatever made it and whatever the umask.

The database holds the keys of attachments, so a folder that a package made with mode 0755 is closed before anything is
written to it. A folder in which others could have put files is refused, for they would become ours.
"""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import structlog

from nbdsvc import atomic_file, errors
from nbdsvc.model import names

log = structlog.get_logger(__name__)

FOLDER_MODE, FILE_MODE = 0o700, 0o600
# Folders of nbdsvc below it. A pool or images elsewhere are their operator's, and so are their permissions.
SUBFOLDERS = ("backups", "digests", "exports", "images", "journals", "locks", "pool", "tmp")
# Whose files are closed one by one: few, and with keys, names or digests in them.
_NOTES = ("", "digests", "exports", "exports/*", "journals", "locks")
# Files that a killed service leaves half written: only the service writes these, and their names are ours.
# Those in .new are an older version's.
_HALF_WRITTEN = (
    ".host-*.id.part", "digests/.*.part", "exports/.*.part", "exports/*/.*.part", "images/.*.json.part",
    "exports/*.new", "exports/*/spec.new", "exports/*/psk.new",
)  # fmt: skip
_OTHERS_READ, _OTHERS_WRITE = 0o077, 0o022


def prepare(folder: Path, setting: str = "state_dir") -> None:
    """Make the folder, or close it and its notes. ConfigError where it is another user's, or others could write to it.

    A symbolic link is followed: what counts is the folder behind it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        close(folder, setting)
        for name in SUBFOLDERS:
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                close(folder / name, setting)
        for note in _notes(folder):
            _close_file(note)
    except OSError as error:
        raise errors.ConfigError(setting=setting, reason=f"{error.filename}: {error.strerror}") from error


def sweep(folder: Path) -> int:
    """Remove what an earlier, killed service left half written; how many. The caller is the only service of the folder."""
    found = [path for pattern in _HALF_WRITTEN for path in folder.glob(pattern) if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def close(folder: Path, setting: str) -> None:
    """Mode 0700, or a ConfigError that says why its content cannot be trusted."""
    status = folder.stat()
    if reason := refusal(status, os.geteuid(), empty=not any(folder.iterdir())):
        raise errors.ConfigError(setting=setting, reason=f"{folder} {reason}")
    if status.st_mode & _OTHERS_READ:
        folder.chmod(FOLDER_MODE)


def refusal(status: os.stat_result, user: int, *, empty: bool) -> str:
    """The reason why a folder cannot be the state folder; empty where it can. An empty folder can."""
    if not stat.S_ISDIR(status.st_mode):
        return "is not a folder"
    if status.st_uid != user:
        return f"belongs to user {status.st_uid}, and nbdsvc runs as user {user}: chown it, or name another folder"
    if status.st_mode & _OTHERS_WRITE and not empty:
        mode = stat.S_IMODE(status.st_mode)
        return f"has mode {mode:04o}, so others may have put files into it: look at them, then chmod 700 it"
    return ""


def _notes(folder: Path) -> Iterator[Path]:
    for pattern in _NOTES:
        for parent in folder.glob(pattern) if pattern else [folder]:
            yield from parent.iterdir() if parent.is_dir() else ()


def _close_file(path: Path) -> None:
    """Regular files only: a socket's mode is its server's, and its folder is closed."""
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_mode & _OTHERS_READ and status.st_uid == os.geteuid():
        path.chmod(FILE_MODE)


def identity(folder: Path, host: str) -> str:
    """Which machine serves the host, by a file of the folder, which is made where it is missing or has no identity in it, as
    after a power cut. Where that cannot be, on a full disk, a new machine at each start.

    A new machine is as safe as another one: it takes the host's name where it has the host's volumes (backends/machine.py).
    """
    path, made = folder / f"host-{host}.id", str(uuid.uuid4())
    with contextlib.suppress(OSError, ValueError):  # ValueError: bytes that are no text
        if names.is_id(found := path.read_text().strip()):
            return found
        log.warning("the file of this machine's identity is damaged, and is made anew", path=str(path))
    with contextlib.suppress(OSError):
        atomic_file.write(path, made.encode())
    return made


def make_file(path: Path) -> None:
    """Make a private file where there is none, and close the one that is there."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    _close_file(path.resolve())
