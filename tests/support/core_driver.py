"""Drivers that are installed beside nbdsvc: the file driver cut down to what every driver implements, and others for a test."""

from pathlib import Path
from typing import Any

from drivers.file import FileDriver
from drivers.memory import MemoryDriver
from nbdsvc.driver import Driver, DriverFacts, VolumeRef
from nbdsvc.location import Location

CORE = {name for name in (*vars(Driver), *Driver.__annotations__) if not name.startswith("_")}


class CoreDriver:
    """No snapshots, no clones, nothing managed."""

    def __init__(self, name: str, pool: Path, **options: Any) -> None:
        self._whole = FileDriver(name, pool, **options)

    def __getattr__(self, name: str) -> Any:
        if name in CORE:
            return getattr(self._whole, name)
        raise AttributeError(name)


class ClusterDriver(CoreDriver):
    """Its volumes are images of a cluster, as far as it says where they are."""

    def location(self, volume: VolumeRef) -> Location:
        return Location("rbd", f"pool/volume-{volume.id}")


class ThickSimulator(MemoryDriver):
    """Its snapshots share blocks with their volume, and have room for a part of its changes only."""

    @property
    def facts(self) -> DriverFacts:
        return DriverFacts(thin=False)


def install(folder: Path, entry_point: str) -> str:
    """Make a distribution in `folder` that offers this as the driver `example`; what PYTHONPATH needs for it."""
    info = folder / "example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nbdsvc.drivers]\nexample = {entry_point}\n")
    return str(folder)
