"""One process a host name on this machine, by flock(2) on a file of its state folder."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TextIO

import structlog

from nbdsvc import errors, state_folder

log = structlog.get_logger(__name__)


def lock_host(state_dir: Path, host: str) -> TextIO:
    """The open file that holds the lock. ConfigError where another process has it: both would run the same step at once."""
    state_folder.prepare(state_dir)
    try:
        file = (state_dir / f"host-{host}.lock").open("a+")
    except OSError as error:
        raise errors.ConfigError(setting="state_dir", reason=f"{error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        raise errors.ConfigError(
            setting="state_dir",
            reason=f"process {holder} already serves host {host} from {state_dir}",
        ) from None
    with contextlib.suppress(OSError):  # on a full disk the file does not name its holder, but the lock is held
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), str(os.getpid()).encode(), 0)
    if swept := state_folder.sweep(state_dir):
        log.info("half written files of a killed service are removed", count=swept)
    return file
