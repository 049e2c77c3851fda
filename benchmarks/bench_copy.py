"""Images and volumes copied, paired: our core and the field's tools in turn, sources hot in the page cache.

bench_copy.py [ROUNDS [CASE ...]]: a case is a line of the table, by a part of its name.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from disks import MIB, SIZE, SOURCES, make_sources
from measure import save, shown, spread

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


CASES = [*(Case(source, to) for to in ("file", "nbd") for source in SOURCES), Case("raw", "zlib"), Case("raw", "zstd")]


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
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    fd = os.open(flushed, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def one_round(case: Case, source: Path, folder: Path) -> dict[str, Cost]:
    """Each tool once."""
    found = {}
    target = (Path("/dev/shm") if case.to == "nbd" else folder) / f"bench-copy-{os.getpid()}"
    for tool in commands_of(case, source, ""):
        Path(f"{target}.journal").unlink(missing_ok=True)
        target.write_bytes(b"")
        if case.to == "nbd" or (tool.startswith("ours") and case.to == "file"):
            os.truncate(target, SIZE)
        if case.to == "nbd":
            with nbd_server(target) as uri:
                cost = timed(commands_of(case, source, uri)[tool], target)
        else:
            cost = timed(commands_of(case, source, str(target))[tool], target)
        result = target.stat()
        found[tool] = replace(cost, size=result.st_size, written=result.st_blocks * 512)
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
    save("copy", {"command": f"benchmarks/bench_copy.py {' '.join(sys.argv[1:])}", "rounds": ROUNDS, "table": table})


main()
