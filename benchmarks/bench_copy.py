"""Images and volumes copied, paired: our core and the field's tools in turn, sources hot in the page cache.

bench_copy.py [ROUNDS [CASE ...]]: a case is a line of the table, by a part of its name.
"""

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import save, shown, spread

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
CHOSEN = sys.argv[2:]
SIZE, MIB = 8 << 30, 1 << 20
TEXT_MIB = 1400
_OURS = """
import sys
from pathlib import Path
from nbdsvc.datapath import sink as sinks, source as sources
from nbdsvc.datapath.copy import Digests, copy
path, format, target, kind, proof = sys.argv[1:]
with sources.open_path(Path(path), format) as source:
    if kind == "nbd":
        sink = sinks.open_nbd(target, is_zero=True)
    elif kind == "file":
        sink = sinks.open_path(Path(target), is_zero=True)
    else:
        sink = sinks.create_qcow2(Path(target), source.size, kind)
    digests = Digests(source.size) if proof == "digests" else None
    journal = Path(target + ".journal") if proof == "journal" else None
    with sink:
        copy(source, sink, digests=digests, journal=journal, fingerprint=b"bench")
"""


@dataclass(frozen=True)
class Case:
    """One line of the table. to: file, nbd, or how a qcow2 is compressed."""

    source: str
    to: str

    @property
    def name(self) -> str:
        kind = {"file": "file", "nbd": "NBD"}.get(self.to, f"{self.to} qcow2")
        return f"{self.source} to {kind}"


# source -> (its format, how qemu-img makes it of the raw one)
SOURCES = {
    "raw": ("raw", None),
    "plain qcow2": ("qcow2", []),
    "zlib qcow2": ("qcow2", ["-c"]),
    "zstd qcow2": ("qcow2", ["-c", "-o", "compression_type=zstd"]),
}
CASES = [*(Case(source, to) for to in ("file", "nbd") for source in SOURCES), Case("raw", "zlib"), Case("raw", "zstd")]


def make_raw(folder: Path) -> Path:
    """8 GiB with about 2 GiB in pieces of 64 KiB to 32 MiB: 70 % files of /usr, 20 % noise, 10 % zeros that are stored."""
    raw, text, dice = folder / "raw", folder / "text", random.Random(1)
    subprocess.run(["sh", "-c", f"tar cf - /usr/lib /usr/share 2>/dev/null | head -c {TEXT_MIB}M > {text}"], check=True)
    raw.touch()
    os.truncate(raw, SIZE)
    at = 0
    with text.open("rb") as words, raw.open("r+b") as file:
        while at < SIZE - 100 * MIB and words.tell() < text.stat().st_size - 32 * MIB:
            length, kind = dice.choice([64 << 10, 256 << 10, MIB, 4 * MIB, 32 * MIB]), dice.random()
            file.seek(at)
            file.write(words.read(length) if kind < 0.7 else os.urandom(length) if kind < 0.9 else bytes(length))
            at += length + dice.choice([64 << 10, MIB, 4 * MIB, 64 * MIB])
    text.unlink()
    return raw


def make_sources(folder: Path, wanted: set[str]) -> dict[str, Path]:
    made = {"raw": make_raw(folder)}
    for name, (_format, options) in SOURCES.items():
        if options is not None and name in wanted:
            made[name] = folder / name.replace(" ", "-")
            command = [
                "qemu-img",
                "convert",
                "-W",
                "-m",
                "16",
                "-f",
                "raw",
                "-O",
                "qcow2",
                *options,
                made["raw"],
                made[name],
            ]
            subprocess.run(command, check=True)
    return made


@contextmanager
def nbd_server(target: Path) -> Iterator[str]:
    """nbdkit's file plugin over a file in memory, so that the disk is not what is measured."""
    socket = f"{target}.socket"
    server = subprocess.Popen(["nbdkit", "-f", "-U", socket, "file", target])
    try:
        while not Path(socket).exists():
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={socket}"
    finally:
        server.terminate()
        server.wait()


def commands_of(case: Case, source: Path, target: str) -> dict[str, list[str]]:
    form = SOURCES[case.source][0]
    ours = [sys.executable, "-c", _OURS, str(source), form, target, case.to]
    found = {"ours": [*ours, "none"]}
    convert = ["qemu-img", "convert", "-f", form]
    ends = [str(source), target]
    if case.to == "nbd":
        found["qemu-img -m 16 -W"] = [*convert, "-n", "--target-is-zero", "-m", "16", "-W", "-O", "raw", *ends]
        if form == "raw":
            found["nbdcopy"] = ["nbdcopy", "--destination-is-zero", *ends]
    elif case.to == "file":
        found |= {"ours, journal": [*ours, "journal"], "ours, digests": [*ours, "digests"]}
        for options in ([], ["-t", "none"], ["-m", "16", "-W", "-t", "none"]):
            found[f"qemu-img {' '.join(options) or 'stock'}"] = [*convert, *options, "-O", "raw", *ends]
        if form == "raw":
            found["cp"] = ["cp", "--reflink=never", "--sparse=auto", *ends]
    else:
        options = ["-c", "-O", "qcow2", "-o", f"compression_type={case.to}"]
        found["qemu-img -c"] = [*convert, *options, *ends]
        found["qemu-img -c -m 16 -W"] = [*convert, "-m", "16", "-W", *options, *ends]
    return found


def timed(command: list[str], flushed: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of a whole process. Ours ends with an fsync; so that all are equal, the peers' end with one too."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    fd = os.open(flushed, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_round(case: Case, source: Path, folder: Path) -> dict[str, tuple[float, float, int]]:
    """Each tool once: (wall, CPU of the client, bytes of the result)."""
    found = {}
    target = (Path("/dev/shm") if case.to == "nbd" else folder) / f"bench-copy-{os.getpid()}"
    for tool in commands_of(case, source, ""):
        Path(f"{target}.journal").unlink(missing_ok=True)
        target.write_bytes(b"")
        if case.to == "nbd" or (tool.startswith("ours") and case.to == "file"):
            os.truncate(target, SIZE)
        if case.to == "nbd":
            with nbd_server(target) as uri:
                times = timed(commands_of(case, source, uri)[tool], target)
        else:
            times = timed(commands_of(case, source, str(target))[tool], target)
        found[tool] = (*times, target.stat().st_size)
        for path in target.parent.glob(f"{target.name}*"):
            path.unlink()
    return found


def measure(case: Case, source: Path, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    with source.open("rb") as file:  # hot
        while file.read(64 * MIB):
            pass
    rounds = [one_round(case, source, folder) for _ in range(ROUNDS)]
    table = {}
    for tool in rounds[0]:
        line = {
            "wall": spread([r[tool][0] for r in rounds]),
            "cpu": spread([r[tool][1] for r in rounds]),
            "ratio": spread([r[tool][0] / r["ours"][0] for r in rounds]),
            "cpu_ratio": spread([r[tool][1] / r["ours"][1] for r in rounds]),
            "size": spread([r[tool][2] / r["ours"][2] for r in rounds]),
        }
        table[f"{case.name} / {tool}"] = line
        size = f"  size {shown(line['size'], 3)}" if case.to in ("zlib", "zstd") else ""
        print(
            f"{case.name:22} {tool:26} wall {shown(line['wall'])} s  CPU {shown(line['cpu'])} s  "
            f"we are faster by {shown(line['ratio'])}, in CPU {shown(line['cpu_ratio'])}{size}",
            flush=True,
        )
    peers = [tool for tool in rounds[0] if not tool.startswith("ours")]
    best = spread([min(r[peer][0] for peer in peers) / r["ours"][0] for r in rounds])
    print(f"{case.name:22} {'the best of them':26} we are faster by {shown(best)}", flush=True)
    return table


def main() -> None:
    cases = [case for case in CASES if not CHOSEN or any(word in case.name for word in CHOSEN)]
    table = {}
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        made = make_sources(folder, {case.source for case in cases})
        for case in cases:
            table |= measure(case, made[case.source], folder)
    save("copy", {"command": f"benchmarks/bench_copy.py {' '.join(sys.argv[1:])}", "rounds": ROUNDS, "table": table})


main()
