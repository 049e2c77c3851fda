"""A server of NBD as fio sees it."""

import json
import subprocess
from pathlib import Path

from measure import cpu_seconds

from nbdsvc.exports.nbd import processes

WINDOW_SECONDS = 1


def nbdkit_of(exports: Path, id: str) -> int:
    """The pid of the server itself: the export's own is the shell's that keeps it."""
    found = processes.serving(exports)[id]
    return next(pid for pid in found if Path(f"/proc/{pid}/comm").read_text().strip() == "nbdkit")


class Server:
    """One server process and the URI at which it serves its own file."""

    def __init__(self, name: str, pid: int, uri: str) -> None:
        self.name, self.pid, self.uri = name, pid, uri

    def run(self, pattern: str, block: str, depth: int, jobs: int, *options: str) -> tuple[float, float]:
        """(operations a second, server microseconds of CPU an operation). options: more of fio's."""
        before = cpu_seconds(self.pid)
        argv = ["fio", "--name=x", "--ioengine=nbd", f"--uri={self.uri}", f"--rw={pattern}", f"--bs={block}", f"--iodepth={depth}",
                f"--numjobs={jobs}", "--group_reporting", "--time_based", f"--runtime={WINDOW_SECONDS}",
                "--thread", *options, "--output-format=json"]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        side = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["read" if "read" in pattern else "write"]
        return side["iops"], (cpu_seconds(self.pid) - before) / max(1, side["total_ios"]) * 1e6
