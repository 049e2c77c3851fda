"""`python -m walk.hunt [NAME...]`: plant each bug in a copy of the product, and tell whether a walk finds it.

No hints: the weights are those of every walk. STEPS and SECONDS bound each hunt; SEEDS, with commas between, begin one
each; LIST is one of LISTS.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backends import Backend
from postgres import Postgres
from serving import ServiceProcess

from rig.machine import blind
from rig.machine.mutations import Mutation
from rig.machine.unhinted import UNHINTED
from walk import run
from walk.world import BACKEND, BACKEND_THERE, THERE, World, prepare

LISTS = {"unhinted": UNHINTED, "first": blind.FIRST, "second": blind.SECOND, "hosts": blind.HOSTS}
# So many hosts where it is not one.
HOSTS = {"hosts": 2}
ROOT = Path(__file__).resolve().parents[3]


def main(names: list[str]) -> int:
    steps, seconds = int(os.environ.get("STEPS", "600")), float(os.environ.get("SECONDS", "300"))
    seeds = os.environ.get("SEEDS", "1").split(",")
    bugs = [bug for bug in LISTS[os.environ.get("LIST", "unhinted")] if not names or bug.name in names]
    hosts = HOSTS.get(os.environ.get("LIST", ""), 1)
    found = [[hunt(bug, seed, steps, seconds, hosts) for seed in seeds] for bug in bugs]
    print(f"{sum(map(any, found))} of {len(found)} planted bugs found, in {sum(map(sum, found))} of "
          f"{len(found) * len(seeds)} hunts")  # fmt: skip
    return 0 if all(map(any, found)) else 1


def hunt(bug: Mutation, seed: str, steps: int, seconds: float, hosts: int) -> bool:
    """Whether it was found; prints its line of the table."""
    began, done, violation = time.monotonic(), 0, ""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tree = planted(Path(folder), bug)
        with world(Path(folder), tree, hosts) as there:
            while not violation and done < steps and time.monotonic() < began + seconds:
                record = run.walk(there, f"{seed}.{done}", min(steps - done, run.SEQUENCE), began + seconds)
                done, violation = done + len(record.plan), record.violation
    said = f"found: {violation[:110]}" if violation else "not found"
    print(f"{bug.name:52} seed {seed:4} {done:4} steps {time.monotonic() - began:5.0f} s  {said}", flush=True)
    return bool(violation)


def planted(folder: Path, bug: Mutation) -> Path:
    """A copy of the product with the bug in it; one in the C core is built anew."""
    tree = folder / "tree"
    is_native = bug.path.startswith("native/")
    for name in ("nbdsvc", "drivers", *(["native"] if is_native else [])):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    bug.plant(tree)
    if is_native:
        _build(tree)
    return tree


def _build(tree: Path) -> None:
    """The extension of this tree, in its place."""
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tree / name)
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tree, check=True)


@contextmanager
def world(folder: Path, tree: Path = ROOT, hosts: int = 1, database: str = "") -> Iterator[World]:
    """A new one, of the product in `tree`: one host on SQLite, or two on PostgreSQL, for which a server starts where no
    `database` is given."""
    with contextlib.ExitStack() as stack:
        if hosts > 1 and not database:
            server = Postgres()
            stack.callback(server.stop)
            database = server.database()
        shared = {"database": database, "nbd_listen": "127.0.0.1", "claim_seconds": 1.0} if hosts > 1 else {}
        made = [stack.enter_context(_process(folder / "a", tree, BACKEND, shared))]
        if hosts > 1:
            there = {**shared, "host": THERE, "images": made[0].state / "images"}
            made.append(stack.enter_context(_process(folder / "b", tree, BACKEND_THERE, there, role="host")))
        yield prepare(World(*made))


@contextmanager
def _process(
    folder: Path, tree: Path, backend: Backend, settings: dict[str, Any], role: str = "serve"
) -> Iterator[ServiceProcess]:
    made = ServiceProcess(folder, backend=backend, **settings)
    made.tree, made.role = tree, role
    try:
        yield made.start()
    finally:
        made.stop()
        made.end_exports()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
