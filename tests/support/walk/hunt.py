"""`python -m walk.hunt [NAME...]`: plant each bug in a copy of the product, and tell whether a walk finds it.

No hints: the weights are those of every walk. STEPS and SECONDS bound each hunt; SEEDS, with commas between, begin one
each; LIST is one of LISTS.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import ServiceProcess

from rig.machine import blind
from rig.machine.mutations import Mutation
from rig.machine.unhinted import UNHINTED
from walk import run
from walk.world import BACKEND, World, prepare

LISTS = {"unhinted": UNHINTED, "first": blind.FIRST, "second": blind.SECOND}
ROOT = Path(__file__).resolve().parents[3]


def main(names: list[str]) -> int:
    steps, seconds = int(os.environ.get("STEPS", "600")), float(os.environ.get("SECONDS", "300"))
    seeds = os.environ.get("SEEDS", "1").split(",")
    bugs = [bug for bug in LISTS[os.environ.get("LIST", "unhinted")] if not names or bug.name in names]
    found = [[hunt(bug, seed, steps, seconds) for seed in seeds] for bug in bugs]
    print(f"{sum(map(any, found))} of {len(found)} planted bugs found, in {sum(map(sum, found))} of "
          f"{len(found) * len(seeds)} hunts")  # fmt: skip
    return 0 if all(map(any, found)) else 1


def hunt(bug: Mutation, seed: str, steps: int, seconds: float) -> bool:
    """Whether it was found; prints its line of the table."""
    began, done, violation = time.monotonic(), 0, ""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tree = planted(Path(folder), bug)
        with service(Path(folder), tree) as running:
            world = World(running)
            while not violation and done < steps and time.monotonic() < began + seconds:
                record = run.walk(world, f"{seed}.{done}", min(steps - done, run.SEQUENCE), began + seconds)
                done, violation = done + len(record.plan), record.violation
    said = f"found: {violation[:110]}" if violation else "not found"
    print(f"{bug.name:52} seed {seed:4} {done:4} steps {time.monotonic() - began:5.0f} s  {said}", flush=True)
    return bool(violation)


def planted(folder: Path, bug: Mutation) -> Path:
    """A copy of the product with the bug in it."""
    tree = folder / "tree"
    for name in ("nbdsvc", "drivers"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    bug.plant(tree)
    return tree


@contextmanager
def service(folder: Path, tree: Path = ROOT) -> Iterator[ServiceProcess]:
    """A service with the backends and types of a walk, of the product in `tree`."""
    made = ServiceProcess(folder / "a", backend=BACKEND)
    made.tree = tree
    made.start()
    try:
        prepare(made)
        yield made
    finally:
        made.stop()
        made.end_exports()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
