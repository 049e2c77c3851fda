"""A driver that logs calls instead of executing them (S140, S141): for tests of what is before a driver.

With the transports fake-iscsi and fake-iser, volumes can also be attached. It keeps nothing: no volume has bytes, so what
reads or writes them fails, and `explain` reports every volume as lost.
"""

import tempfile
from pathlib import Path
from typing import Any

import structlog

from drivers.base import BaseDriver
from nbdsvc.driver import BackendObject, DriverFacts, PoolStats, SnapshotRef, VolumeRef
from nbdsvc.location import Location
from nbdsvc.model import names

log = structlog.get_logger(__name__)


class FakeDriver(BaseDriver[None]):
    """See nbdsvc/driver/ for the contract, of which nothing is kept but the names. pool: the folder of a real backend."""

    def __init__(self, name: str, pool: Path | None = None, **options: Any) -> None:
        super().__init__(name, {name: None}, **{"reserved_percentage": 100, **options})

    @property
    def facts(self) -> DriverFacts:
        """Thin; clones and snapshots cost no copy, because there are no bytes."""
        return DriverFacts(thin=True)

    def fake_execute(self, command: str, *arguments: object) -> tuple[None, None]:
        """Log the command. Returns no output and no error output."""
        log.info("fake command", command=command, arguments=[str(each) for each in arguments])
        return None, None

    def _set_up(self, pool: None) -> None:
        """No setup necessary in fake mode."""

    def _check(self, pool: None) -> None:
        """No setup necessary in fake mode."""

    def _measure(self, name: str, pool: None) -> PoolStats:
        return PoolStats(name, "infinite", "infinite", 0, 0, 0, self._reserved, self._ratio, thin=True)

    def location(self, volume: VolumeRef) -> Location:
        """A name in the temporary folder, where no file is made."""
        return Location.file(Path(tempfile.gettempdir()).absolute() / names.volume_name(volume.id))

    def snapshot_location(self, snapshot: SnapshotRef) -> Location:
        """A name in the temporary folder, where no file is made."""
        return Location.file(Path(tempfile.gettempdir()).absolute() / names.snapshot_name(snapshot.id))

    def list_objects(self) -> list[BackendObject]:
        """Nothing is there."""
        return []

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        """Logged."""
        self.fake_execute("create_volume", volume.id)

    def delete_volume(self, volume: VolumeRef) -> None:
        """Logged."""
        self.fake_execute("delete_volume", volume.id)

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Logged."""
        self.fake_execute("extend_volume", volume.id, new_size)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """Logged."""
        self.fake_execute("create_snapshot", snapshot.id)

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Logged."""
        self.fake_execute("delete_snapshot", snapshot.id)

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        """Logged."""
        self.fake_execute("create_cloned_volume", volume.id, source.id)

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Logged."""
        self.fake_execute("create_volume_from_snapshot", volume.id, snapshot.id)
