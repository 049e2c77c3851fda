"""Files that are whole or not there, also after a power cut."""

import contextlib
import os
import shutil
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return when the names in the folder are on stable storage."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Make or replace the file, for its owner only: readers see the old content or the new, never a part of it.

    durable: after a power cut it has the old content or the new, and the new one where this has returned; without it only
    kills are survived, which is enough for what does not outlive this host's start. OSError, among others on a full disk:
    the old content stays, and nothing else. One writer of a path at a time.
    """
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # left by a writer that was killed
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(fd)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def remove(path: Path) -> bool:
    """Return when the name is gone for good; False when it was not there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def remove_folder(path: Path, removed: Path) -> None:
    """Remove the folder, as far as possible: by another name, `removed` beside it, so that a thread which still writes to it
    fails, and leaves no part of it. A process that is killed leaves it by that name.
    """
    shutil.rmtree(removed, ignore_errors=True)
    with contextlib.suppress(OSError):  # there is none, or the disk is too full for a name
        path.rename(removed)
    for folder in (removed, path):
        shutil.rmtree(folder, ignore_errors=True)
