"""The servers of exports, found in /proc: processes of this user whose command line names an export's spec.

A file with the pid may be lost or wrong while the process still serves a volume. Source: proc(5).
"""

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from nbdsvc.polling import wait_until

# Seconds. A killed process is gone when its last write to a slow disk has ended.
GONE_SECONDS = 10.0
POLL_SECONDS = 0.005
# Seconds. After a wait of this length the servers are looked up again, because a pid may belong to another process by
# then.
LOOK_SECONDS = 1.0
SPEC, KEEPER = "spec.json", "keep.sh"
# A file in an export's folder: every process of its server has a shared lock on it (launch.py).
SERVED = "served"
_SPEC_ENDING = f"/{SPEC}".encode()
# Bytes of one read; nearly every command line is shorter.
_PART = 1 << 14


def serving(exports: Path) -> dict[str, set[int]]:
    """Export id -> pids of the processes that serve the export in this folder, without zombies."""
    found: dict[str, set[int]] = {}
    for pid, arguments in _processes():
        for argument in arguments:
            path = Path(argument.removeprefix("spec="))
            if argument.startswith("spec=") and path.name == SPEC and path.parent.parent == exports:
                found.setdefault(path.parent.name, set()).add(pid)
    return found


def end(exports: Path, id: str, keeper: int | None = None) -> bool:
    """SIGKILL every server of the export; returns when they are gone, or False after GONE_SECONDS.

    keeper: the pid of the keeping shell, where it is known. A scan of all processes of a host takes some milliseconds:
    the known processes are ended first, and when the lock is free after that, nothing else serves the export.
    """
    if keeper is not None:
        _end({keeper}, lambda: _children(keeper))
    if _is_free(exports / id / SERVED):
        return True

    def gone() -> bool:
        pids = serving(exports).get(id, set())
        keepers = {pid for pid in pids if _is_keeper(pid)}
        _end(keepers, lambda: pids - keepers)
        return not pids

    return wait_until(gone, GONE_SECONDS, POLL_SECONDS)


def _is_free(path: Path) -> bool:
    """Whether no process has a lock on the file; False also for a file that is not there, which says nothing."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _end(keepers: set[int], servers: Callable[[], set[int]]) -> None:
    """End keeping shells and servers. A shell is stopped before its server is killed: it would start another one."""
    _signal(keepers, signal.SIGSTOP)
    ended = servers()
    _signal(ended, signal.SIGKILL)
    _signal(keepers, signal.SIGKILL)
    for pid in ended | keepers:
        _wait_for_end(pid)


def _children(pid: int) -> set[int]:
    """The pids of the process's children; empty when the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    with contextlib.suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()


def _wait_for_end(pid: int) -> None:
    """Wait for the end of this process, LOOK_SECONDS at most. Uses one descriptor, because few may be left."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            waiting = select.poll()
            waiting.register(fd, select.POLLIN)
            waiting.poll(LOOK_SECONDS * 1000)
        finally:
            os.close(fd)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_keeper(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return KEEPER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def stat_of(pid: int) -> tuple[str, str]:
    """(state, start time in clock ticks) of a process, from /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]


def cpu_ticks(pids: set[int]) -> int:
    """Processor time of these processes in clock ticks (utime and stime of /proc/PID/stat)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total


def _processes() -> Iterator[tuple[int, list[str]]]:
    """(pid, arguments) of this user's processes in this mount namespace, because elsewhere a path is another folder.

    For other processes only the command line is read: a host has hundreds, and every detach waits for this scan.
    """
    user, space = os.geteuid(), Path("/proc/self/ns/mnt").readlink()
    for pid in _pids():
        # Raises OSError when no descriptor is left: a failed scan must not count as "no server".
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            content = _read(f"/proc/{pid}/cmdline")
            if _SPEC_ENDING not in content or Path(f"/proc/{pid}").stat().st_uid != user:
                continue
            if Path(f"/proc/{pid}/ns/mnt").readlink() == space and stat_of(pid)[0] not in "ZX":
                yield pid, os.fsdecode(content).split("\0")


def _pids() -> list[int]:
    with os.scandir("/proc") as found:
        return [int(entry.name) for entry in found if entry.name.isdigit()]


def _read(path: str) -> bytes:
    """The whole content of a file in /proc."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, _PART), b""))
    finally:
        os.close(fd)
