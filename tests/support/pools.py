"""Every driver on a pool that a test may fill: what the contract tests run over."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core_driver import CoreDriver

from drivers.file import FileDriver
from drivers.lvm import LvmBase, ThickDriver
from drivers.lvm import make as make_lvm
from drivers.memory import MemoryDriver
from drivers.memory_consistent import ConsistentMemoryDriver
from drivers.memory_grouped import GroupedMemoryDriver
from drivers.memory_replicated import ReplicatedMemoryDriver
from nbdsvc import errors, process
from nbdsvc.driver import PROTOCOLS, Driver, SnapshotRef, VolumeRef
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

SIZE = 8 * MiB
Made = Callable[[], Driver]


def mounted(tmp_path: Path, kind: str) -> Iterator[Path]:
    """A small file system of this kind on a loop device."""
    image, mounted = tmp_path / f"{kind}.img", tmp_path / kind
    with image.open("wb") as file:
        file.truncate(320 * MiB)
    mounted.mkdir()
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


# Backends whose pool is a folder run anywhere. The others run where an environment variable names what they may use: the rig does,
# in its machines.
FOLDERS = [
    "file-plain",
    "file-xfs",
    "file-btrfs",
    "memory-instant",
    "memory-copying",
    "memory-replicated",
    "memory-grouped",
    "memory-consistent",
]
GROUP = os.environ.get("NBDSVC_TEST_VOLUME_GROUP", "")
# The example of docs/writing-a-driver.md, and one that implements the core alone.
OTHERS = ["example", "core"]
BACKENDS = FOLDERS + OTHERS + (["lvm-thin", "lvm-thick"] if GROUP else [])
# Hooks for drivers that implement them; of ours only the simulator does.
_HOOKS = frozenset(
    {
        "ConnectionDriver",
        "ProviderInfoDriver",
        "SecureFilesDriver",
        "FreezeDriver",
        "DefaultFunctionsDriver",
        "VendorPropertiesDriver",
        "VolumeCopyDriver",
        "CloneImageDriver",
        "MigratedDriver",
        "TransferDriver",
        "BackupDriver",
    }
)
_REPLICATION = frozenset({"ReplicaDriver", "ReplicatedDriver"})
_GROUPS = frozenset({"GroupDriver", "GroupReplicationDriver"})
_CONSISTENT = frozenset({"ConsistentSnapshotDriver"})
_ALL = frozenset(PROTOCOLS) - _HOOKS - _REPLICATION - _GROUPS - _CONSISTENT
# By what they can do; tests/contract/test_driver.py asks each driver whether it says the same.
_INSTANT = {
    "file-xfs",
    "file-btrfs",
    "memory-instant",
    "memory-replicated",
    "memory-grouped",
    "memory-consistent",
    "lvm-thin",
}
INSTANT_CLONES = [name for name in BACKENDS if name in _INSTANT]
THICK_SNAPSHOTS = [name for name in BACKENDS if name == "lvm-thick"]
COPIED_SNAPSHOTS = [name for name in BACKENDS if name not in {*INSTANT_CLONES, *THICK_SNAPSHOTS, "core"}]
# The optional protocols of each that does not implement all of them.
_SOME = {
    "example": frozenset({"SnapshotDriver"}),
    "core": frozenset(),
    "memory-replicated": frozenset(PROTOCOLS) - _GROUPS - _CONSISTENT,
    "memory-grouped": frozenset(PROTOCOLS) - _CONSISTENT,
    "memory-consistent": _ALL | _HOOKS | _CONSISTENT,
    "lvm-thick": _ALL - {"CloneDriver", "RevertDriver", "MigrateDriver"},
    "lvm-thin": (_ALL | _CONSISTENT) - {"MigrateDriver"},
}
PROTOCOLS_OF = {name: _SOME.get(name, _ALL | _HOOKS if name.startswith("memory") else _ALL) for name in BACKENDS}


def implementing(*protocols: str) -> list[str]:
    """The backends that a test of these protocols runs over."""
    return [name for name in BACKENDS if PROTOCOLS_OF[name].issuperset(protocols)]


def example_code() -> str:
    """The driver of docs/writing-a-driver.md."""
    text = (Path(__file__).parents[2] / "docs" / "writing-a-driver.md").read_text()
    return text.partition("```python\n")[2].partition("```")[0]


def make_example(folder: Path) -> Driver:
    namespace: dict[str, Any] = {}
    exec(compile(example_code(), "writing-a-driver.md", "exec"), namespace)  # noqa: S102
    driver: Driver = namespace["FolderDriver"]("b", folder)
    return driver


def made_on(backend: str, folder: Path) -> Iterator[Made]:
    """Yields once what makes this driver; afterwards its pool is empty."""
    kind, _, flavour = backend.partition("-")
    if flavour in ("xfs", "btrfs"):
        for where in mounted(folder, flavour):
            yield lambda: set_up(FileDriver("b", where / "pool"))
    elif kind == "lvm":
        yield from _on_lvm(flavour)
    elif kind == "example":
        yield lambda: set_up(make_example(folder / "pool"))
    elif kind == "core":
        yield lambda: set_up(CoreDriver("b", folder / "pool"))
    elif kind == "file":
        yield lambda: set_up(FileDriver("b", folder / "pool"))
    elif flavour in ("replicated", "grouped"):
        targets = {site: str(folder / site) for site in ("near", "far")}
        kind_of = {"replicated": ReplicatedMemoryDriver, "grouped": GroupedMemoryDriver}[flavour]
        yield lambda: set_up(kind_of("b", folder / "pool", replication_targets=targets))
    elif flavour == "consistent":
        yield lambda: set_up(ConsistentMemoryDriver("b", folder / "pool"))
    else:
        yield lambda: set_up(MemoryDriver("b", folder / "pool", instant_clone=flavour == "instant"))


def _on_lvm(flavour: str) -> Iterator[Made]:
    """Thick volumes in a group whose thin pool left most of it free."""
    made: list[LvmBase] = []

    def make() -> Driver:
        made.append(make_lvm("b", volume_group=GROUP, lvm_type=flavour))
        return set_up(made[-1])

    if flavour == "thick":
        lvm("lvremove", "-q", "-f", f"{GROUP}/{GROUP}-pool", check=False)
    yield make
    thick = [driver for driver in made if isinstance(driver, ThickDriver)]
    assert all(sweeper.wait(120) for driver in thick for sweeper in driver.sweepers)
    for name in lvm("lvs", "--noheadings", "-o", "lv_name", GROUP).split():
        if name != f"{GROUP}-pool":
            lvm("lvremove", "-q", "-f", f"{GROUP}/{name}", check=False)  # a snapshot is removed with its origin


def lvm(*argv: str, check: bool = True) -> str:
    """What an LVM command of ours printed. AssertionError with its standard error where it failed."""
    done = subprocess.run(argv, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


def set_up(driver: Driver) -> Driver:
    driver.do_setup()
    driver.check_for_setup_error()
    return driver


def volume(size: int = SIZE, pool: str = "b") -> VolumeRef:
    """A new volume in this pool; a backend that has one only gives it its own name."""
    return VolumeRef(names.new_id(), size, pool, extra_specs={})


def snapshot_of(ref: VolumeRef, size: int | None = None) -> SnapshotRef:
    """A new snapshot, which is in the pool of its volume. size: of a volume that has grown."""
    return SnapshotRef(names.new_id(), ref.id, size or ref.size, ref.pool)


def put(driver: Driver, ref: VolumeRef, offset: int, content: bytes) -> None:
    with driver.location(ref).path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def tells_the_truth(location: Location) -> bool:
    """Whether what is there is of the location's scheme."""
    is_a = {"file": stat.S_ISREG, "block": stat.S_ISBLK}[location.scheme]
    return is_a(location.path.stat().st_mode)


def unmanaged(driver: Driver, kind: str, size: int = SIZE + 512) -> str:
    """Something in the pool that is not ours, and that begins with "theirs"; its name."""
    name = f"unmanaged-{names.new_id()[:8]}"
    if isinstance(driver, LvmBase):
        make_stranger(driver, name, size)
        path = Path("/dev") / GROUP / name
    else:
        path = driver.location(volume()).path.parents[1] / kind / name
        path.touch()
        os.truncate(path, size)
    with path.open("r+b") as file:
        file.write(b"theirs")
    return name


def make_stranger(driver: LvmBase, name: str, size: int) -> None:
    thin = ["-V", f"{size}b", "--thin", f"{GROUP}/{GROUP}-pool"]
    lvm("lvcreate", "-q", "-y", "-n", name, *(thin if driver.facts.thin else ["-L", f"{size}b", GROUP]))


class Interrupted(process.Runner):
    """Runs so many commands that change something, and fails from then on."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self._left = changes

    def run(self, argv: Sequence[str], **kwargs: Any) -> process.Completed:
        if argv[0] not in ("lvs", "vgs"):
            if not self._left:
                raise errors.CommandFailed(argv=list(argv), rc=-9, stderr="killed by the test")
            self._left -= 1
        return super().run(argv, **kwargs)
