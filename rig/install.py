"""The working tree and its Python dependencies as one read-only disk: seconds to make, nothing to copy into machines."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from rig import box
from rig.agent import Agent, connect_all
from rig.fleet import Fleet
from rig.log import log

ROOT = Path(__file__).resolve().parent.parent
TEST_LIBRARIES = ["pytest", "pytest-timeout", "hypothesis"]
# OpenStack's client that attaches volumes to its own host, unmodified. It is installed without dependencies, because
# the netifaces that it requires has no wheel (the machines have Debian's). Its newest release calls a function of
# cinderclient.utils that no longer exists.
FOREIGN_LIBRARIES, ALONE = ["python-cinderclient>=9.1,<9.2"], ["python-brick-cinderclient-ext>=2.8"]
MOUNT, SERIAL = "/opt/nbdsvc", "nbdsvctree"
DEVICE = f"/dev/disk/by-id/virtio-{SERIAL}"
# The files for the machines: the packages with the built core, and the tests that need a machine's storage.
PARTS = ("nbdsvc", "drivers", "tests")
LAUNCHER = f"""#!/bin/sh
PYTHONPATH={MOUNT}:{MOUNT}/site exec /usr/bin/python3 -m nbdsvc "$@"
"""


def agents(fleet: Fleet) -> dict[str, Agent]:
    """One agent for each host, with the product installed on virtual machines; real hosts have it already."""
    made = connect_all(fleet.hosts)
    for agent in made.values():
        if agent.host.virtual:
            install(agent)
    return made


def install(agent: Agent) -> None:
    """Mount the attached disk, now and at every boot, and install the launcher."""
    mounted = f"mountpoint -q {MOUNT} && umount -l {MOUNT}; udevadm settle -t 30 || true; mount -o ro {DEVICE} {MOUNT}"
    agent.shell(f"mkdir -p {MOUNT}; {mounted}")
    agent.shell(f"grep -q {MOUNT} /etc/fstab || echo '{DEVICE} {MOUNT} squashfs ro,nofail 0 0' >> /etc/fstab; sync")
    agent.put("/usr/local/bin/nbdsvc", LAUNCHER.encode())
    agent.run("chmod", "755", "/usr/local/bin/nbdsvc")


def disk(change: Callable[[Path], None] = lambda tree: None) -> Path:
    """A squashfs of the working tree, changed if requested. The dependencies are cached by pyproject.toml."""
    stage = box.CACHE / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=ROOT, check=True, stderr=subprocess.DEVNULL
    )
    for part in PARTS:
        shutil.copytree(ROOT / part, stage / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", stage)
    change(stage)
    shutil.copytree(_dependencies(), stage / "site")
    _entry_points(stage / "site")
    # Compiled here, because the disk is read-only in the machines, and compiling takes half a minute in emulation.
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-d", MOUNT, "--invalidation-mode", "unchecked-hash", "."],
                   cwd=stage, check=False)  # fmt: skip
    made = box.CACHE / "tree.squashfs"
    made.unlink(missing_ok=True)
    # Not compressed, because emulated processors would decompress every import.
    argv = ["mksquashfs", str(stage), str(made), "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    made.chmod(0o644)
    log(f"working tree packed: {made.stat().st_size >> 20} MiB")
    return made


def _dependencies() -> Path:
    """The folder of the dependencies, which pip resolves for Debian 12, the machines' system."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for name in ("postgresql", "brick") for each in project["optional-dependencies"][name]]
    wanted = [*project["dependencies"], *extras, *TEST_LIBRARIES, *FOREIGN_LIBRARIES]
    home = box.CACHE / f"site-{hashlib.sha256(' '.join([*wanted, *ALONE]).encode()).hexdigest()[:16]}"
    if not home.exists():
        log("fetching Python dependencies for the machines")
        unfinished = home.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        argv = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(unfinished),
                "--python-version", "3.11", "--only-binary=:all:", "--platform", "manylinux2014_x86_64"]  # fmt: skip
        subprocess.run([*argv, *wanted], check=True)
        subprocess.run([*argv, "--no-deps", *ALONE], check=True)
        unfinished.rename(home)
    return home


def _entry_points(site: Path) -> None:
    """Write the metadata with the drivers' entry points, because the tree is not an installed package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    facts = site / f"{project['name']}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = ["[nbdsvc.drivers]"]
    lines += [f"{name} = {target}" for name, target in project["entry-points"]["nbdsvc.drivers"].items()]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
