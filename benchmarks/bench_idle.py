"""What a service costs that has nothing to do: memory and processor of one backend, and of three.

`bench_idle.py SECONDS` looks at each for so long, with the default `repair_interval`.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import cpu_seconds, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from serving import ServiceProcess

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60
BACKENDS = {
    "one": "solid.driver = 'file'",
    "three": "solid.driver = 'file', quick.driver = 'memory', bulk.driver = 'file'",
}
# The default: a heartbeat of each backend, and a look at exports, so often.
INTERVAL = 30
# Until what a start began has ended.
REST_SECONDS = 5


def memory(pid: int) -> int:
    """Bytes that are its own (Private_Clean and Private_Dirty)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) << 10


def look(backends: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        service = ServiceProcess(Path(folder), backends=backends, repair_interval=INTERVAL).start()
        try:
            assert service.process
            pid = service.process.pid
            time.sleep(REST_SECONDS)
            before = cpu_seconds(pid)
            time.sleep(SECONDS)
            used = cpu_seconds(pid) - before
            return {"cpu_percent": round(used / SECONDS * 100, 2), "private_mib": round(memory(pid) / (1 << 20), 1)}
        finally:
            service.kill()
            service.end_exports()


def main() -> None:
    found = {name: look(backends) for name, backends in BACKENDS.items()}
    for name, figures in found.items():
        print(f"{name:6} {figures['private_mib']:6.1f} MiB private, {figures['cpu_percent']:5.2f} % of a core")
    save("idle", {"command": f"benchmarks/bench_idle.py {SECONDS:.0f}", **found})


main()
