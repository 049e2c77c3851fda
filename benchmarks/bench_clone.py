"""A raw copy within one XFS: blocks are shared, so its time does not grow with the bytes. bench_clone.py [ROUNDS]

Peers: `cp` sharing blocks too, `cp` that moves them, and `qemu-img convert`. All in turn in each round, each ending with
an fsync; Python's start is part of ours.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from disks import xfs
from measure import save, shown, spread

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
MIB = 1 << 20
SIZES = (256 * MIB, 1024 * MIB, 4096 * MIB)
# On an XFS of its own: room for the largest source, and for a copy of it that shares nothing.
DISK = 10 << 30


def commands(source: Path, target: Path) -> dict[str, list[str]]:
    return {
        "ours": [sys.executable, "-m", "nbdsvc", "copy", "--json", str(source), str(target)],
        "cp --reflink=always": ["cp", "--reflink=always", str(source), str(target)],
        "cp --reflink=never": ["cp", "--reflink=never", str(source), str(target)],
        "qemu-img convert": ["qemu-img", "convert", "-f", "raw", "-O", "raw", str(source), str(target)],
    }


def timed(command: list[str], target: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", str(target)], check=True)
    return time.monotonic() - began


def one_round(source: Path, target: Path) -> dict[str, float]:
    found = {}
    tools = commands(source, target)
    for tool in random.sample(list(tools), len(tools)):
        found[tool] = timed(tools[tool], target)
        target.unlink()
    return found


def measure(folder: Path, size: int) -> dict[str, dict[str, float]]:
    source = folder / "source"
    subprocess.run(["dd", "if=/dev/urandom", f"of={source}", "bs=4M", f"count={size // MIB // 4}", "conv=fsync", "status=none"],
                   check=True)  # fmt: skip
    rounds = [one_round(source, folder / "target") for _ in range(ROUNDS)]
    source.unlink()
    return {tool: spread([each[tool] for each in rounds]) for tool in rounds[0]}


def main() -> None:
    table = {}
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name, xfs(Path(name), DISK) as folder:
        for size in SIZES:
            for tool, seconds in sorted(measure(folder, size).items()):
                table[f"{size // MIB} MiB / {tool}"] = seconds
                print(f"{size // MIB:5} MiB  {tool:20} {shown(seconds)} s")
    save("clone", {"command": f"benchmarks/bench_clone.py {ROUNDS}", "rounds": ROUNDS, "table": table})


main()
