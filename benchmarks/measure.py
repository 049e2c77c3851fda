"""What the benchmarks share: processor time, medians, results as JSON."""

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

# CPUCLOCK_SCHED of the kernel (include/linux/posix-timers.h): the time on a processor.
_SCHEDULED = 2
RESULTS = Path(__file__).parent / "results"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads, those that ended too, in nanoseconds and not in ticks of 10 ms: its
    clock, whose number is made as clock_getcpuclockid(3) of glibc makes it. OSError (EINVAL) where the process has ended.
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def resident_mib(pid: int) -> float:
    """MiB of a process's memory that are resident, from /proc/PID/status (proc(5))."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def shown(found: dict[str, float], digits: int = 2) -> str:
    return f"{found['median']:.{digits}f} ({found['min']:.{digits}f}-{found['max']:.{digits}f})"


def load(name: str) -> dict[str, Any]:
    """What was saved last; empty where nothing was."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def save(name: str, content: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = {"kernel": platform.release(), "cores": os.cpu_count(), "when": time.strftime("%Y-%m-%d %H:%M")}
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, **content}, indent=1) + "\n")
