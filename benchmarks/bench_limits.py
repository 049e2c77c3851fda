"""What limits cost exports, paired: without limits beside an older tree's server, and with a limit that nothing reaches.

python benchmarks/bench_limits.py [ROUNDS [TREE]]: TREE is a checkout with a built core; without it, only the second is measured. Of
TREE there are two servers: what they differ by is what this measurement cannot see.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import save, shown, spread
from served import Server, nbdkit_of

from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
TREE = Path(sys.argv[2]) if len(sys.argv) > 2 else None
SIZE = 256 << 20
CELLS = {"4k read q16": ("randread", "4k", 16, 1), "4k write q16": ("randwrite", "4k", 16, 1)}
HIGH = {"total_iops_sec": 10**9, "total_bytes_sec": 10**15}
# Processor time of an operation without limits, to that of the older tree.
ALLOWED = 1.02
OLDER = """
import sys
from pathlib import Path
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
spec = ExportSpec(sys.argv[2], sys.argv[2], Location.file(Path(sys.argv[3])))
print(NbdExporter(Path(sys.argv[1]), "bench").ensure(spec).data["uri"])
"""


def volume(folder: Path, name: str) -> Path:
    path = folder / f"{name}.raw"
    path.write_bytes(b"\1" * SIZE)
    return path


def servers(folder: Path, exporter: NbdExporter) -> list[Server]:
    exports, found = folder / "e", []
    for name, limits in (("without limits", {}), ("high limit", HIGH)):
        id = names.new_id()
        spec = ExportSpec(id, id, Location.file(volume(folder, name)), limits=limits)
        found.append(Server(name, 0, str(exporter.ensure(spec).data["uri"])))
        found[-1].pid = nbdkit_of(exports, id)
    for name in ("older", "older, too") if TREE else ():
        id = names.new_id()
        argv = [sys.executable, "-c", OLDER, str(exports), id, str(volume(folder, name))]
        done = subprocess.run(
            argv,
            cwd=TREE,
            env={"PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(Server(name, nbdkit_of(exports, id), done.stdout.strip()))
    return found


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/dev/shm") as name:
        exporter = NbdExporter(Path(name) / "e", "bench")
        try:
            return measure(servers(Path(name), exporter))
        finally:
            for id in exporter.inventory().exports:
                exporter.remove(id)


def measure(up: list[Server]) -> int:
    base = "older" if TREE else "without limits"
    ratios: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for cell, arguments in CELLS.items():
            cpu = {server.name: server.run(*arguments)[1] for server in random.sample(up, len(up))}
            for server in up:
                if server.name != base:
                    key = f"{cell}, {server.name} / {base}, processor time an operation"
                    ratios.setdefault(key, []).append(cpu[server.name] / cpu[base])
    for key, found in ratios.items():
        print(f"{key:70} {shown(spread(found))}")
    save("limits", {key: spread(found) for key, found in ratios.items()})
    worst = max(
        (spread(found)["median"] for key, found in ratios.items() if "without limits / older" in key), default=0
    )
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
