"""NBD serving, paired: all servers up at once on one tmpfs file each, short windows of fio in shuffled order."""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import save, shown, spread
from served import WINDOW_SECONDS, Server, nbdkit_of

from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SIZE = 256 << 20
CELLS = {
    "4k read q1": ("randread", "4k", 1, 1),
    "4k read q16": ("randread", "4k", 16, 1),
    "4k read q16x4": ("randread", "4k", 16, 4),
    "4k write q1": ("randwrite", "4k", 1, 1),
    "4k write q16": ("randwrite", "4k", 16, 1),
    "4k write q16x4": ("randwrite", "4k", 16, 4),
    "256k read q16": ("read", "256k", 16, 1),
    "256k write q16": ("write", "256k", 16, 1),
}
# Server, cell, and the least ratio of ours to it.
GATES = (("naive", "4k read q16", 2.0), ("naive", "4k write q16", 2.0), ("file", "4k read q16", 0.6),
         ("file", "4k write q16", 0.6), ("qemu-nbd", "4k read q16", 1.5), ("qemu-nbd", "4k write q16", 1.5))  # fmt: skip


def start_servers(folder: Path) -> tuple[list[Server], list[subprocess.Popen[bytes]], NbdExporter]:
    files = {}
    for name in ("ours", "naive", "file", "qemu-nbd"):
        files[name] = folder / f"{name}.raw"
        files[name].write_bytes(b"\1" * SIZE)
    exporter = NbdExporter(folder / "e", "bench")
    id = "00000000-0000-4000-8000-000000000001"
    uri = exporter.ensure(ExportSpec(id, "v", Location.file(files["ours"]))).data["uri"]
    naive = Path(__file__).with_name("naive_plugin.py")
    commands = {
        "naive": ["nbdkit", "-f", "-U", str(folder / "naive"), "python", str(naive), f"path={files['naive']}"],
        "file": ["nbdkit", "-f", "-U", str(folder / "file"), "file", str(files["file"])],
        "qemu-nbd": [
            "qemu-nbd",
            "-t",
            "-f",
            "raw",
            "--shared=8",
            "--aio=io_uring",
            "-k",
            str(folder / "qemu-nbd"),
            str(files["qemu-nbd"]),
        ],
    }
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands.values()]
    while not all((folder / name).exists() for name in commands):
        time.sleep(0.05)
    servers = [Server("ours", nbdkit_of(folder / "e", id), uri)]
    servers += [
        Server(name, process.pid, f"nbd+unix:///?socket={folder / name}")
        for name, process in zip(commands, processes, strict=True)
    ]
    return servers, processes, exporter


def measure(servers: list[Server]) -> dict[str, dict[str, dict[str, list[float]]]]:
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for round_number in range(ROUNDS):
        for cell, shape in CELLS.items():
            for server in random.sample(servers, len(servers)):
                iops, cpu = server.run(*shape, f"--size={SIZE}")
                found = results.setdefault(cell, {}).setdefault(server.name, {"iops": [], "cpu": []})
                found["iops"].append(iops)
                found["cpu"].append(cpu)
        print(f"round {round_number + 1} of {ROUNDS}", file=sys.stderr)
    return results


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/dev/shm") as name:
        servers, processes, exporter = start_servers(Path(name))
        try:
            results = measure(servers)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
            for id in exporter.inventory().exports:
                exporter.remove(id)
    table = {}
    print(f"{'':16} {'server':9} {'iops':>9} {'CPU us/op':>10}  ours / it: median (min-max)")
    for cell, by_server in results.items():
        for server, found in by_server.items():
            ratios = spread([a / b for a, b in zip(by_server["ours"]["iops"], found["iops"], strict=True)])
            row = {"iops": spread(found["iops"]), "cpu": spread(found["cpu"]), "ratio": ratios}
            table[f"{cell} / {server}"] = row
            print(f"{cell:16} {server:9} {row['iops']['median']:9.0f} {row['cpu']['median']:10.1f}  {shown(ratios)}")
    for server, cell, least in GATES:
        ratio = table[f"{cell} / {server}"]["ratio"]["median"]
        print(f"{'reached' if ratio >= least else 'MISSED'}: {cell} against {server} {ratio:.2f}, at least {least}")
    save(
        "nbd",
        {"command": f"benchmarks/bench_nbd.py {ROUNDS}", "rounds": ROUNDS, "window_s": WINDOW_SECONDS, "table": table},
    )


main()
