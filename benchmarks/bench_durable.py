"""What it costs to answer writes when they are on stable storage (`nbd_write_through`): our export over TCP, with and without.

bench_durable.py [ROUNDS]. Both exports serve a file on this machine's disk, and the ratio is taken inside each round. With
a flush after every write the two promise the same, which is what databases ask for.
"""

import random
import sys
import tempfile
from pathlib import Path

from measure import save, shown, spread
from served import Server, nbdkit_of

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SIZE = 256 << 20
CELLS = {
    "4k write q1": ("randwrite", "4k", 1, 1),
    "4k write q16": ("randwrite", "4k", 16, 1),
    "4k write q16x4": ("randwrite", "4k", 16, 4),
    "4k write and flush": ("randwrite", "4k", 1, 1, "--fsync=1"),
    "4k 32 writes and flush": ("randwrite", "4k", 16, 1, "--fsync=32"),
    "256k write q16": ("write", "256k", 16, 1),
    "256k 16 writes and flush": ("write", "256k", 16, 1, "--fsync=16"),
}


def start(folder: Path, number: int, write_through: bool) -> tuple[NbdExporter, Server]:
    disk = folder / f"disk{number}"
    disk.write_bytes(b"\1" * SIZE)
    first = 24810 + 10 * number
    exporter = NbdExporter(
        folder / f"e{number}", "bench", "127.0.0.1", (first, first + 9), tls=False, write_through=write_through
    )
    id = f"00000000-0000-4000-8000-00000000000{number}"
    made = exporter.ensure(ExportSpec(id, "v", Location.file(disk), Access(network=True)))
    return exporter, Server(
        "through" if write_through else "back",
        nbdkit_of(folder / f"e{number}", id),
        str(made.data["uri"]),
    )


def measure(servers: list[Server]) -> dict[str, dict[str, list[float]]]:
    results: dict[str, dict[str, list[float]]] = {cell: {server.name: [] for server in servers} for cell in CELLS}
    for _ in range(ROUNDS):
        for cell, shape in CELLS.items():
            for server in random.sample(servers, len(servers)):
                results[cell][server.name].append(server.run(*shape, f"--size={SIZE}")[0])
    return results


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        made = [start(Path(name), number, write_through) for number, write_through in enumerate((True, False))]
        try:
            results = measure([server for _, server in made])
        finally:
            for exporter, _ in made:
                for id in exporter.inventory().exports:
                    exporter.remove(id)
    table = {}
    for cell, found in results.items():
        ratio = spread([a / b for a, b in zip(found["through"], found["back"], strict=True)])
        table[cell] = {"through": spread(found["through"]), "back": spread(found["back"]), "ratio": ratio}
        through, back = (f"{name} {table[cell][name]['median']:8.0f} a second" for name in ("through", "back"))
        print(f"{cell:26} {through}  {back}  ratio {shown(ratio)}")
    save("durable", {"command": f"benchmarks/bench_durable.py {ROUNDS}", "rounds": ROUNDS, "table": table})


main()
