"""What a service under test keeps volumes on and exports them with, and what of that has no owner.

The simulator and NBD are for every machine. Where NBDSVC_TEST_VOLUME_GROUP and NBDSVC_TEST_LIO are set (the rig's
machines) there are an LVM group and the kernel's LIO.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import export_process

INITIATOR = "iqn.2026-11.org.example:me"
PREFIX = "iqn.2010-10.org.openstack:volume-"
CONFIGFS = Path("/sys/kernel/config/target")
LIO = {"exporter": "lio", "iscsi_portals": "127.0.0.1:3262"}


@dataclass(frozen=True)
class Backend:
    """settings: of the service, where STATE is its folder. driver: memory, file or lvm. exporter: nbd, lio or lio-memory.

    folders: of the pools, in STATE, by the pools' names.
    """

    driver: str = "memory"
    exporter: str = "nbd"
    settings: dict[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ("pool",)

    def volume(self, state: Path, id: str) -> Path:
        """Where its bytes are."""
        if self.driver == "lvm":
            return Path("/dev", os.environ["NBDSVC_TEST_VOLUME_GROUP"], f"volume-{id}")
        paths = [state / folder / "volumes" / f"volume-{id}" for folder in self.folders]
        return next((path for path in paths if path.exists()), paths[0])

    def unmanaged(self, state: Path, of: str | None) -> Path:
        """Something in the pool that is not ours: a volume, or a snapshot of this one."""
        if self.driver != "lvm":
            pool = self.volume(state, of).parents[1] if of else state / self.folders[0]
            path = pool / ("snapshots" if of else "volumes") / "unmanaged"
            path.touch()
            return path
        group = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
        made = ["-s", "-kn", f"{group}/volume-{of}"] if of else ["-V", "1g", "--thin", f"{group}/{group}-pool"]
        subprocess.run(["lvcreate", "-q", "-y", "-n", "unmanaged", *made], check=True, stdout=subprocess.DEVNULL)
        return Path("/dev", group, "unmanaged")

    def unmarked(self, state: Path) -> list[Path]:
        """Everything in the pool that has no mark of ours."""
        if self.driver != "lvm":
            found = (path for folder in self.folders for path in (state / folder).glob("[vs]*s/*"))
            return [path for path in found if not os.listxattr(path)]
        group = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
        return [Path("/dev", group, name) for name in _logical_volumes(unmarked=True)]

    def remove(self, path: Path) -> None:
        if self.driver != "lvm":
            path.unlink()
        else:
            subprocess.run(["lvremove", "-q", "-f", str(path)], check=True, stdout=subprocess.DEVNULL)

    def break_export(self, state: Path, volume: str, attachment: str) -> Callable[[], Any]:
        """What ends a volume's export behind the service's back."""
        if self.exporter == "nbd":
            return export_process.killer(state, attachment)
        if self.exporter == "lio":
            return lambda: (CONFIGFS / "iscsi" / f"{PREFIX}{volume}" / "tpgt_1" / "enable").write_text("0")
        # The simulator is in the service's memory. What is lost with a kill of it is repaired by the same operation.
        return (state / "exports" / f"{attachment}.lio").unlink

    def leftovers(self, volumes: set[str], snapshots: set[str], exported: set[str]) -> list[str]:
        """Of LVM and LIO; `exported`: ids of volumes that have an attachment."""
        found = []
        if self.driver == "lvm":
            owned = {f"volume-{id}" for id in volumes} | {f"_snapshot-{id}" for id in snapshots}
            found += [f"LV {name}" for name in _logical_volumes() if name not in owned]
        if self.exporter == "lio":
            paths = [*CONFIGFS.glob("iscsi/iqn.*"), *CONFIGFS.glob("core/*_*/*-*")]
            found += [f"LIO {path.name}" for path in paths if path.name.partition("volume-")[2] not in exported]
        return found


def _logical_volumes(*, unmarked: bool = False) -> list[str]:
    """All of the group, or those without a tag of ours, but for those of its pool."""
    argv = ["lvs", "--noheadings", "-o", "lv_name,lv_tags", os.environ["NBDSVC_TEST_VOLUME_GROUP"]]
    listed = [
        line.split() for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    ours = [words[0] for words in listed if not (unmarked and any("nbdsvc" in tag for tag in words[1:]))]
    return [name for name in ours if not name.endswith("-pool")]


COPYING = Backend(settings={"driver": "memory", "driver_options": "instant_clone = false"})
INSTANT = Backend(settings={"driver": "memory", "driver_options": "instant_clone = true"})
# Both pools have the same size, so that volumes go to each in turn.
TWO_POOLS = Backend(
    settings={"driver": "memory", "driver_options": "pools = { a = 'STATE/pool', b = 'STATE/other' }"},
    folders=("pool", "other"),
)
# Its LIO is lost with each kill, as by a reboot of the storage host.
SIMULATED_LIO = Backend("memory", "lio-memory", {**INSTANT.settings, **LIO, "exporter": "lio-memory"})

# By iSCSI, whose writers the driver holds.
CONSISTENT_LIO = Backend(
    "memory-consistent", "lio-memory", {"driver": "memory-consistent", **LIO, "exporter": "lio-memory"}
)


def machine() -> Backend:
    """LVM and LIO of this machine."""
    group = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
    return Backend("lvm", "lio", {"driver": "lvm", "driver_options": f"volume_group = '{group}'", **LIO})
