"""What mirroring under a client costs, and how long its writer waits: fio --verify through a mirror and its switch.

bench_mirror.py [ROUNDS]. An export on this machine's disk. `off`: no mirror, `copying`: a mirror whose copy runs all the time,
`synchronised`: every write goes to both places. `through`: fio writes and verifies while a mirror begins, copies and is switched.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import save, shown, spread
from served import Server, nbdkit_of

from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SIZE = 256 << 20
CELLS = {"4k write q1": ("randwrite", "4k", 1, 1), "4k write q16": ("randwrite", "4k", 16, 1), "256k write q16": ("write", "256k", 16, 1),
         "4k write and flush": ("randwrite", "4k", 1, 1, "--fsync=1")}  # fmt: skip
STATES = ("off", "copying", "synchronised")


class Mirrored:
    """An export of a file of SIZE, with a place for its mirror."""

    def __init__(self, folder: Path, number: int) -> None:
        self.source, self.destination = folder / f"source{number}", folder / f"destination{number}"
        self.source.write_bytes(b"\1" * SIZE)
        self.exporter = NbdExporter(folder / f"e{number}", "bench")
        self.id = f"00000000-0000-4000-8000-00000000000{number}"
        self.uri = str(self.exporter.ensure(ExportSpec(self.id, "v", Location.file(self.source))).data["uri"])
        self.server = Server(str(number), nbdkit_of(folder / f"e{number}", self.id), self.uri)

    def begin(self, rate: int = 0) -> None:
        self.destination.unlink(missing_ok=True)
        with self.destination.open("wb") as file:
            file.truncate(SIZE)
        self.exporter.start_mirror(self.id, Location.file(self.destination), is_zero=True, rate=rate)

    def await_copy(self) -> float:
        """Seconds until it is synchronised."""
        began = time.monotonic()
        while self.exporter.mirror_state(self.id).state == "copying":
            time.sleep(0.005)
        assert self.exporter.mirror_state(self.id).state == "synchronised"
        return time.monotonic() - began


def cost(servers: dict[str, Mirrored]) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {cell: {state: [] for state in STATES} for cell in CELLS}
    for _ in range(ROUNDS):
        for cell, shape in CELLS.items():
            for state in random.sample(STATES, len(STATES)):
                found[cell][state].append(servers[state].server.run(*shape, f"--size={SIZE}")[0])
    table = {}
    for cell, results in found.items():
        table[cell] = {state: spread(results[state]) for state in STATES}
        for state in STATES[1:]:
            pairs = zip(results[state], results["off"], strict=True)
            table[cell][f"{state}/off"] = spread([with_it / off for with_it, off in pairs])
        ratios = "  ".join(f"{state} / off {shown(table[cell][f'{state}/off'])}" for state in STATES[1:])
        print(f"{cell:20} off {table[cell]['off']['median']:8.0f} a second   {ratios}")
    return table


def through(export: Mirrored) -> dict[str, float]:
    """fio's own words: errors, and the longest that a write waited."""
    argv = ["fio", "--name=w", "--ioengine=nbd", f"--uri={export.uri}", "--rw=randwrite", "--bs=4k", "--iodepth=8",
            f"--size={SIZE}", "--verify=crc32c", "--verify_backlog=1024", "--verify_state_save=0", "--time_based", "--runtime=8",
            "--output-format=json"]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as fio:
        time.sleep(1.5)
        export.begin()
        seconds = export.await_copy()
        time.sleep(1)
        began = time.monotonic()
        export.exporter.switch_mirror(export.id)
        switch = time.monotonic() - began
        out, words = fio.communicate(timeout=120)
    assert fio.returncode == 0, words
    job = json.loads(out[out.index("{") :])["jobs"][0]
    return {"errors": job["error"], "worst_ms": job["write"]["clat_ns"]["max"] / 1e6, "p99.9_ms":
            job["write"]["clat_ns"]["percentile"]["99.900000"] / 1e6, "writes": job["write"]["total_ios"],
            "copy_mb_s": SIZE / 1e6 / seconds, "switch_ms": switch * 1000}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        servers = {state: Mirrored(Path(name), number) for number, state in enumerate(STATES)}
        try:
            servers["copying"].begin(rate=1 << 20)
            servers["synchronised"].begin()
            servers["synchronised"].await_copy()
            table = cost(servers)
            switched = []
            for number in range(ROUNDS):
                servers[f"through{number}"] = export = Mirrored(Path(name), number + len(STATES))
                switched.append(through(export))
                print("through a switch: " + ", ".join(f"{key} {value:.1f}" for key, value in switched[-1].items()))
        finally:
            for each in servers.values():
                each.exporter.remove(each.id)
    save(
        "mirror",
        {"command": f"benchmarks/bench_mirror.py {ROUNDS}", "rounds": ROUNDS, "table": table, "through": switched},
    )


if __name__ == "__main__":
    main()
