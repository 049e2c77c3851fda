"""Backup of a sparse volume against restic: full, incremental after changes, restore. bench_backup.py [ROUNDS] [SIZE_MIB] [DATA_MIB]

In turn in each round, each on a repository of its own that is empty before; both end on stable storage. restic (Debian's) has its
compression on (repository version 2) and its encryption, which it cannot leave out; ours runs with and without a key. The restored
volume is compared after the measurement.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import save, shown, spread

from nbdsvc.backup_store.folder import FolderStore
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.space import Space
from nbdsvc.backup_store.vault import Vault
from nbdsvc.backup_store.writing import Writer
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import copy
from nbdsvc.location import Location

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SIZE = int(sys.argv[2]) if len(sys.argv) > 2 else 10 << 10
DATA = int(sys.argv[3]) if len(sys.argv) > 3 else 2 << 10
MIB = 1 << 20
SPACE = "0" * 32
# Of what is changed between the two backups, in MiB, in one piece: as a file that was written anew.
CHANGED = 64


def make_volume(path: Path) -> None:
    """Half of the data compresses to about a half, as files of a system do; in pieces of 16 MiB over the whole volume."""
    numbers = random.Random(7)
    with path.open("wb") as file:
        file.truncate(SIZE * MIB)
        step = SIZE // max(1, DATA // 16)
        for index in range(DATA // 16):
            file.seek(index * step * MIB)
            for _ in range(16):
                file.write(numbers.randbytes(MIB // 2) + (numbers.randbytes(MIB // 4) + b"text" * (MIB // 16)))
        os.fsync(file.fileno())


def change(path: Path, seed: int) -> None:
    with path.open("r+b") as file:
        file.write(random.Random(seed).randbytes(min(CHANGED, DATA // 2) * MIB))
        os.fsync(file.fileno())


class Ours:
    kept = "store"

    def __init__(self, folder: Path, volume: Path, key: bytes | None) -> None:
        self._volume, self._folder = volume, folder
        store = FolderStore(folder / "store", folder / "note")
        self._space: Space = Vault(store, key).space(SPACE)

    def back_up(self, id: str, parent: str | None = None) -> None:
        self._space.begin_session(id, {})
        with sources.open_path(self._volume) as source:
            known = self._space.get_manifest(parent) if parent else None
            Writer(self._space, source, parent=known).write(id, {})
        self._space.end_session(id)

    def full(self) -> None:
        self.back_up("full")

    def incremental(self) -> None:
        self.back_up("more", "full")

    def restore(self) -> Path:
        target = self._folder / "restored"
        with target.open("wb") as file:
            file.truncate(SIZE * MIB)
        with Reader(self._space, self._space.get_manifest("more")).open() as source:
            copy(source, Location.file(target), destination_is_zero=True)
        return target


class Restic:
    kept = "repository"

    def __init__(self, folder: Path, volume: Path) -> None:
        self._volume, self._folder = volume, folder
        self._environment = {**os.environ, "RESTIC_REPOSITORY": str(folder / "repository"), "RESTIC_PASSWORD": "benchmark",
                             "RESTIC_CACHE_DIR": str(folder / "cache")}  # fmt: skip
        self._run("init", "--repository-version", "2")

    def _run(self, *arguments: str) -> None:
        subprocess.run(["restic", "-q", *arguments], env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def full(self) -> None:
        self._run("backup", str(self._volume))
        os.sync()

    incremental = full

    def restore(self) -> Path:
        self._run("restore", "latest", "--target", str(self._folder / "out"))
        os.sync()
        return self._folder / "out" / self._volume.relative_to("/")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processors, of this process and of those that it started and waited for."""
    began, used = time.monotonic(), cpu()
    work()
    return time.monotonic() - began, cpu() - used


def cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def size_of(folder: Path) -> float:
    """MiB on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / MIB


def one_round(folder: Path, volume: Path, number: int) -> dict[str, float]:
    makers: dict[str, Callable[[Path], Ours | Restic]] = {
        "ours": lambda at: Ours(at, volume, None),
        "ours, sealed": lambda at: Ours(at, volume, bytes(32)),
    }
    if shutil.which("restic"):
        makers["restic"] = lambda at: Restic(at, volume)
    places = {name: folder / f"tool{index}" for index, name in enumerate(makers)}
    for place in places.values():
        place.mkdir()
    tools, found = {name: make(places[name]) for name, make in makers.items()}, {}
    order = random.sample(list(tools), len(tools))

    def note(what: str, name: str, work: Callable[[], object]) -> None:
        found[f"{what}, s / {name}"], found[f"{what}, s of processors / {name}"] = timed(work)

    for name in order:
        note("full", name, tools[name].full)
        found[f"full, MiB stored / {name}"] = size_of(places[name] / tools[name].kept)
    change(volume, number)
    for name in order:
        before = size_of(places[name] / tools[name].kept)
        note("incremental", name, tools[name].incremental)
        found[f"incremental, MiB stored / {name}"] = size_of(places[name] / tools[name].kept) - before
    for name in order:
        restored: list[Path] = []
        note("restore", name, lambda name=name, restored=restored: restored.append(tools[name].restore()))  # type: ignore[misc]
        subprocess.run(["cmp", str(volume), str(restored[0])], check=True)
        restored[0].unlink()
    for place in places.values():
        shutil.rmtree(place)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder, volume = Path(name), Path(name) / "volume"
        make_volume(volume)
        rounds = [one_round(folder, volume, number) for number in range(ROUNDS)]
    table = {key: spread([each[key] for each in rounds]) for key in sorted(rounds[0])}
    for key, seconds in table.items():
        print(f"{key:44} {shown(seconds)}")
    what = {"command": f"benchmarks/bench_backup.py {ROUNDS} {SIZE} {DATA}", "rounds": ROUNDS}
    save("backup", {**what, "size_mib": SIZE, "data_mib": DATA, "table": table})


main()
