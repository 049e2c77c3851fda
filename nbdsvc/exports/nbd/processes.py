"""The servers of exports, found by what they are: processes of ours whose command line names an export's spec.

What a file says of a process may be lost, or be wrong, while the process still serves a volume. Source: proc(5).
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from nbdsvc.polling import wait_until

# A killed process is gone when its last write to a slow disk has come back.
GONE_SECONDS = 10.0
POLL_SECONDS = 0.005
SPEC, KEEPER = "spec.json", "keep.sh"


def serving(exports: Path) -> dict[str, set[int]]:
    """Export id -> pids of the processes that serve it from below this folder. Zombies serve nothing."""
    found: dict[str, set[int]] = {}
    for pid, arguments in _processes():
        for argument in arguments:
            path = Path(argument.removeprefix("spec="))
            if argument.startswith("spec=") and path.name == SPEC and path.parent.parent == exports:
                found.setdefault(path.parent.name, set()).add(pid)
    return found


def end(exports: Path, id: str) -> None:
    """SIGKILL every server of the export; returns when they are gone, or after GONE_SECONDS.

    A keeping shell is stopped first: it would start another server. SIGKILL follows to the server that it has.
    """

    def gone() -> bool:
        pids = serving(exports).get(id, set())
        keepers = {pid for pid in pids if _is_keeper(pid)}
        _signal(keepers, signal.SIGSTOP)
        _signal(pids - keepers, signal.SIGKILL)
        _signal(keepers, signal.SIGKILL)
        return not pids

    wait_until(gone, GONE_SECONDS, POLL_SECONDS)


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
    """(pid, arguments) of every process of this user in this mount namespace: elsewhere the same path is another folder."""
    user, space = os.geteuid(), Path("/proc/self/ns/mnt").readlink()
    for folder in Path("/proc").glob("[0-9]*"):
        # With no descriptor left this raises: a failed look must not count as "no server".
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if folder.stat().st_uid != user or f"/{SPEC}".encode() not in (
                content := (folder / "cmdline").read_bytes()
            ):
                continue
            if (folder / "ns/mnt").readlink() == space and stat_of(int(folder.name))[0] not in "ZX":
                yield int(folder.name), os.fsdecode(content).split("\0")
