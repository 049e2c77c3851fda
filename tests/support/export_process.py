"""The processes that serve one attachment over NBD: a shell, which its folder names, and the nbdkit that the shell keeps."""

import os
import signal
from collections.abc import Callable
from pathlib import Path


def shell_of(state: Path, attachment: str) -> int:
    """The pid of the shell."""
    return int((state / "exports" / attachment / "process").read_text().split()[0])


def killer(state: Path, attachment: str) -> Callable[[], None]:
    """A call that kills both. Of a killed shell alone, the nbdkit would answer requests until it notices."""
    group = os.getpgid(shell_of(state, attachment))
    return lambda: os.killpg(group, signal.SIGKILL)
