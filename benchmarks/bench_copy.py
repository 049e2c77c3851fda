"""Image to volume, paired: our copy and qemu-img convert in turn, sources hot in the page cache."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import save, shown, spread

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SIZE = 2 << 30
_OURS = """
import sys
from pathlib import Path
from nbdsvc.datapath import source
from nbdsvc.datapath.copy import copy
with source.open_path(Path(sys.argv[1]), sys.argv[2]) as opened:
    copy(opened, Path(sys.argv[3]), destination_is_zero=True, journal=Path(sys.argv[3] + ".journal"), fingerprint=b"bench")
"""
SOURCES = {"raw": ("raw", None), "plain qcow2": ("qcow2", []), "zlib qcow2": ("qcow2", ["-c"]),
           "zstd qcow2": ("qcow2", ["-c", "-o", "compression_type=zstd"])}  # fmt: skip
PEERS = {"stock": [], "-t none": ["-t", "none"], "-m 16 -W -t none": ["-m", "16", "-W", "-t", "none"]}


def make_sources(folder: Path) -> dict[str, Path]:
    """700 MiB of files of /usr, 100 MiB of noise and zeros in 2 GiB, in each format."""
    raw = folder / "raw"
    raw.touch()
    os.truncate(raw, SIZE)
    mix = f"tar cf - /usr/lib /usr/share 2>/dev/null | head -c 700M | dd of={raw} bs=1M conv=notrunc seek=100 iflag=fullblock status=none"
    subprocess.run(["sh", "-c", mix], check=True)
    with raw.open("r+b") as file:
        file.seek(1500 << 20)
        for _ in range(100):
            file.write(os.urandom(1 << 20))
    made = {"raw": raw}
    for name, (_format, options) in SOURCES.items():
        if options is not None:
            made[name] = folder / name.replace(" ", "-")
            subprocess.run(
                ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(made[name])], check=True
            )
    return made


def timed(command: list[str], target: Path, prepare: Callable[[Path], None]) -> tuple[float, float]:
    """(wall, CPU) seconds of a whole process. Ours ends with an fsync; so that all are equal, the peers' end with one too."""
    target.unlink(missing_ok=True)
    Path(f"{target}.journal").unlink(missing_ok=True)
    prepare(target)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    fd = os.open(target, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def allocate(target: Path) -> None:
    target.touch()
    os.truncate(target, SIZE)


def main() -> None:
    table = {}
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        target = folder / "target"
        for label, path in make_sources(folder).items():
            form = SOURCES[label][0]
            commands = {"ours": [sys.executable, "-c", _OURS, str(path), form, str(target)]}
            for peer, options in PEERS.items():
                commands[peer] = ["qemu-img", "convert", *options, "-f", form, "-O", "raw", str(path), str(target)]
            found: dict[str, list[tuple[float, float]]] = {peer: [] for peer in commands}
            for _ in range(ROUNDS):
                for peer, command in commands.items():
                    found[peer].append(timed(command, target, allocate if peer == "ours" else lambda _path: None))
            for peer in commands:
                wall, cpu = (spread([pair[i] for pair in found[peer]]) for i in (0, 1))
                ratio = spread([theirs[0] / ours[0] for theirs, ours in zip(found[peer], found["ours"], strict=True)])
                table[f"{label} / {peer}"] = {"wall": wall, "cpu": cpu, "ratio": ratio}
                print(f"{label:12} {peer:17} wall {shown(wall)} s  CPU {shown(cpu)} s  we are faster by {shown(ratio)}")
    save("copy", {"command": f"benchmarks/bench_copy.py {ROUNDS}", "rounds": ROUNDS, "table": table})


main()
