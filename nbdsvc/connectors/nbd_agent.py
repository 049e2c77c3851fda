"""The one process of a host that watches NBD devices (nbd_watch.py): whether it runs, and its start."""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def ensure_running(folder: Path) -> None:
    """Start the agent unless it runs. The device's record must be stored before the call, see `Watch.run`."""
    with locked(folder) as free:
        if not free:
            return
    with folder.with_suffix(".log").open("ab") as output:
        argv = [sys.executable, "-m", "nbdsvc", "agent", "--folder", str(folder)]
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """A block that holds the agent's lock; yields False when another process holds the lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
