"""Images and volumes copied, paired: our core and the usual tools in turn, sources hot in the page cache.

bench_copy.py [ROUNDS [CASE ...]]: a case is a line of the table, by a part of its name. The others keep the figures that they
had, and the results say which were measured again and when.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from disks import MIB, SIZE, SOURCES, make_sources
from measure import load, save, shown, spread

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
CHOSEN = sys.argv[2:]
# What the disk itself takes, without its cache: as much as a case writes, in requests that no disk is limited by.
LIMIT = ["dd", "if=/dev/zero", "bs=4M", "count=512", "oflag=direct", "conv=fsync", "status=none"]
_OURS = """
import sys
from pathlib import Path
from nbdsvc.datapath import sink as sinks, source as sources
from nbdsvc.datapath.copy import copy
from nbdsvc.datapath.digests import Digests
path, format, target, kind, proof = sys.argv[1:]
with sources.open_path(Path(path), format) as source:
    if kind == "nbd":
        sink = sinks.open_nbd(target, is_zero=True)
    elif kind in ("file", "loop"):
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
    """One line of the table. to: file, loop, nbd, or how a qcow2 is compressed."""

    source: str
    to: str

    @property
    def name(self) -> str:
        kind = {"file": "file", "loop": "loop", "nbd": "NBD"}.get(self.to, f"{self.to} qcow2")
        return f"{self.source} to {kind}"


_MANY = ["-m", "16", "-W", "-t", "none"]
CASES = [
    *(Case(source, to) for to in ("file", "loop", "nbd") for source in SOURCES),
    Case("raw", "zlib"),
    Case("raw", "zstd"),
]


@contextmanager
def nbd_server(target: Path) -> Iterator[str]:
    """nbdkit's file plugin over a file in memory, so that the disk is not what is measured."""
    socket, serves = f"{target}.socket", Path(f"{target}.pid")  # the latter is written when the server listens
    server = subprocess.Popen(["nbdkit", "-f", "-P", serves, "-U", socket, "file", target])
    try:
        while not serves.exists():
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={socket}"
    finally:
        server.terminate()
        server.wait()
        Path(socket).unlink(missing_ok=True)
        serves.unlink(missing_ok=True)


@contextmanager
def loop_device(target: Path) -> Iterator[str]:
    """A block device over a file of holes on the disk, past the page cache as a real one."""
    attach = ["losetup", "--find", "--show", "--direct-io=on", str(target)]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


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
    elif case.to == "loop":
        found["qemu-img -m 16 -W -t none"] = [*convert, "-n", "--target-is-zero", *_MANY, "-O", "raw", *ends]
        if form == "raw":
            found["dd"] = [
                "dd",
                f"if={source}",
                f"of={target}",
                "bs=4M",
                "conv=sparse,notrunc",
                "oflag=direct",
                "status=none",
            ]
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


# A process inherits its peak from the one that made it, so a small one stands between: Python without its modules.
_LAUNCH = """
import os, sys, time
started = time.monotonic()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, started)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Cost:
    """wall, cpu: seconds. memory: peak of the process, MiB. size: bytes of the result; written: those that it allocated."""

    wall: float
    cpu: float
    memory: float
    size: int = 0
    written: int = 0


def timed(command: list[str], flushed: Path) -> Cost:
    """The cost of a whole process. Ours ends with an fsync; so that all are equal, the peers' end with one too."""
    began = time.monotonic()
    launched = subprocess.run([sys.executable, "-I", "-S", "-c", _LAUNCH, *command], stdout=subprocess.PIPE, check=True)
    fd = os.open(flushed, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    wall = time.monotonic() - began
    cpu, memory, started = (float(word) for word in launched.stdout.split()[-3:])
    return Cost(wall - (started - began), cpu, memory)


def make_blank(target: Path, case: Case, tool: str) -> None:
    """What a tool expects there: nothing, a file of the right size, or memory that is zero.

    A server's memory is the same for all: a virtual machine whose free memory goes back to its host gets a page slower
    than it is copied, and then one command took 0.8 to 5.2 s.
    """
    if case.to == "nbd":
        target.touch()
        with target.open("r+b") as file:
            for _ in range(SIZE // (64 * MIB)):
                file.write(bytes(64 * MIB))
        return
    target.write_bytes(b"")
    if case.to == "loop" or (case.to == "file" and tool.startswith("ours")):
        os.truncate(target, SIZE)


def one_round(case: Case, source: Path, target: Path) -> dict[str, Cost]:
    """Each tool once, in another order each time: what one leaves in memory is the next one's burden."""
    found = {}
    doors = {"nbd": nbd_server, "loop": loop_device}
    for tool in random.sample(tools := list(commands_of(case, source, "")), len(tools)):
        Path(f"{target}.journal").unlink(missing_ok=True)
        make_blank(target, case, tool)
        with doors[case.to](target) if case.to in doors else nullcontext(str(target)) as place:
            cost = timed(commands_of(case, source, place)[tool], Path(place) if case.to == "loop" else target)
        result = target.stat()
        found[tool] = replace(cost, size=result.st_size, written=result.st_blocks * 512)
        if case.to != "nbd":
            target.unlink()
    return {tool: found[tool] for tool in tools}


def measure(case: Case, source: Path, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    with source.open("rb") as file:  # reads the source into the page cache
        while file.read(64 * MIB):
            pass
    target = (Path("/dev/shm") if case.to == "nbd" else folder) / f"bench-copy-{os.getpid()}"
    try:
        rounds = [one_round(case, source, target) for _ in range(ROUNDS)]
    finally:
        for path in target.parent.glob(f"{target.name}*"):
            path.unlink()
    table = {}
    for tool in rounds[0]:
        line = {
            "wall": spread([r[tool].wall for r in rounds]),
            "cpu": spread([r[tool].cpu for r in rounds]),
            "memory": spread([r[tool].memory for r in rounds]),
            "ratio": spread([r[tool].wall / r["ours"].wall for r in rounds]),
            "cpu_ratio": spread([r[tool].cpu / r["ours"].cpu for r in rounds]),
            "size": spread([r[tool].size / r["ours"].size for r in rounds]),
        }
        table[f"{case.name} / {tool}"] = line
        size = f"  size {shown(line['size'], 3)}" if case.to in ("zlib", "zstd") else ""
        print(
            f"{case.name:22} {tool:26} wall {shown(line['wall'])} s  CPU {shown(line['cpu'])} s  "
            f"{line['memory']['max']:.0f} MiB  "
            f"we are faster by {shown(line['ratio'])}, in CPU {shown(line['cpu_ratio'])}{size}",
            flush=True,
        )
    peers = [tool for tool in rounds[0] if not tool.startswith("ours")]
    best = spread([min(r[peer].wall for peer in peers) / r["ours"].wall for r in rounds])
    print(f"{case.name:22} {'the best of them':26} we are faster by {shown(best)}", flush=True)
    if case.to == "file":
        share = spread([r["ours"].written / r["ours"].wall / write_limit(folder) for r in rounds])
        print(f"{case.name:22} {'what the disk itself takes':26} we write {shown(share)} of it", flush=True)
        table[f"{case.name} / ours"]["of_write_limit"] = share
    return table


def write_limit(folder: Path) -> float:
    """Bytes a second that the file system of the results takes when nothing but the disk is in the way."""
    target = folder / "limit"
    cost = timed([*LIMIT, f"of={target}"], folder / "raw")
    size = target.stat().st_size
    target.unlink()
    return size / cost.wall


def main() -> None:
    cases = [case for case in CASES if not CHOSEN or any(word in case.name for word in CHOSEN)]
    table = {}
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        made = make_sources(folder, {case.source for case in cases})
        for case in cases:
            table |= measure(case, made[case.source], folder)
    if not CHOSEN:
        save("copy", {"command": f"benchmarks/bench_copy.py {ROUNDS}", "rounds": ROUNDS, "table": table})
        return
    before, now = load("copy"), {case.name: f"{ROUNDS} rounds, {time.strftime('%Y-%m-%d %H:%M')}" for case in cases}
    whole = {key: before.get(key, ROUNDS) for key in ("command", "rounds")}
    save("copy", {**whole, "again": {**before.get("again", {}), **now}, "table": {**before.get("table", {}), **table}})


main()
