"""A service in this process, for differences that a test plants by hand: two backends, three pools, iSCSI and NBD."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import PATIENCE, forget_limits
from waiting import wait_until

from drivers.marks import OWNER
from nbdsvc.app import Waiting
from nbdsvc.attachments.complete import complete_attachment
from nbdsvc.attachments.connect import connect_attachment
from nbdsvc.attachments.reserve import reserve_attachment
from nbdsvc.config import Settings
from nbdsvc.explain.explain import Mended, explain, mend
from nbdsvc.exports.lio.exporter import LioExporter
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.host import Host
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.service import Service
from nbdsvc.snapshots.create import CreateSnapshotRequest, create_snapshot
from nbdsvc.store import operations as journal
from nbdsvc.volumes.create import CreateVolumeRequest, create_volume

ROOT = Context("p1", "u", frozenset({ADMIN}), "req-0")
INITIATOR = "iqn.2026-11.org.example:hyper1"
PREFIX = "iqn.2010-10.org.openstack:"


class Planted:
    """The service and what is made on it. Nothing is repaired or reported by itself within an hour."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.state = folder / "s"
        pools = {name: str(self.state / name) for name in ("a", "b")}
        options = {"pools": pools, "instant_clone": True}
        transports = ["lio-memory", "nbd"]
        backends = {
            "two": {"driver": "memory", "exporters": transports, "options": options},
            "one": {"driver": "memory", "exporters": transports, "options": {"pool": str(self.state / "c")}},
        }
        given = {
            "repair_interval": 3600,
            "database_reserve": 0,
            "iscsi_portals": ["127.0.0.1:3262"],
            "host": "me",
            "quota_volumes": 1000,
        }
        self.service = Service(Settings(state_dir=self.state, backends=backends, **{**given, **settings}))
        self.app = self.service.app
        self.service.start()

    @property
    def host(self) -> Host:
        assert self.service.host
        return self.service.host

    @property
    def lio(self) -> MemoryLio:
        found = next(each for each in self.host.exporters if isinstance(each, LioExporter))
        lio: Any = found._lio
        return lio

    # Make resources

    def settle(self) -> None:
        def quiet() -> bool:
            with self.app.database.read() as conn:
                return not journal.unfinished(conn, self.host.name)

        wait_until(quiet, 30 * PATIENCE)

    def volume(self, backend: str = "two", **fields: Any) -> str:
        request = CreateVolumeRequest(**{"size": 1, "volume_type": self.type_of(backend), **fields})
        made, _ = create_volume(self.app, ROOT, request)
        self.settle()
        return made.id

    def type_of(self, backend: str) -> str:
        """A type that puts its volumes there."""
        id = names.new_id()
        columns, values = (
            "id, name, is_public, extra_specs, projects, created_at",
            "?, ?, 1, ?, '[]', '2026-11-27 00:00:00'",
        )
        specs = f'{{"volume_backend_name": "{backend}"}}'
        self.sql(f"INSERT OR IGNORE INTO volume_types ({columns}) VALUES ({values})", id, backend, specs)
        return backend

    def snapshot(self, volume: str) -> str:
        made = create_snapshot(self.app, ROOT, CreateSnapshotRequest(volume))
        self.settle()
        return made.id

    def attach(self, volume: str, by: str = "iscsi") -> str:
        connector = {"host": "me" if by == "nbd" else "hyper1"}
        connector |= {"initiator": INITIATOR} if by == "iscsi" else {}
        made = reserve_attachment(self.app, ROOT, volume, None, "rw").id
        self.wait(connect_attachment(self.app, ROOT, made, connector, complete=False))
        complete_attachment(self.app, ROOT, made)
        return made

    def wait(self, waiting: Waiting[Any]) -> Any:
        for id in waiting.operations:
            self.app.operations.wait(id, 60 * PATIENCE)
        return waiting.result()

    # Run explain, and mend

    def explain(self, subject: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.wait(explain(self.app, ROOT, subject))
        return found

    def keys(self, subject: str | None = None) -> list[str]:
        return [finding["key"] for finding in self.explain(subject)]

    def mend(self, *keys: str) -> list[Mended]:
        done: list[Mended] = self.wait(mend(self.app, ROOT, None, keys))
        self.settle()
        return done

    # Change rows and files behind the service's back

    def sql(self, statement: str, *values: Any) -> None:
        """Without foreign keys, as a hand that edits the database."""
        connection = sqlite3.connect(self.state / "nbdsvc.db", timeout=20)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def path(self, id: str, noun: str = "volume") -> Path:
        name = names.volume_name(id) if noun == "volume" else names.snapshot_name(id)
        return next(path for path in self.state.glob(f"*/{noun}s/{name}"))

    def plant_file(self, pool: str, name: str, size: int = 1 << 30, owner: str | None = "hand") -> Path:
        folder = "volumes" if name.startswith(names.VOLUME_PREFIX) else "snapshots"
        path = self.state / pool / folder / name
        with path.open("wb") as file:
            file.truncate(size)
        if owner:
            os.setxattr(path, OWNER, owner.encode())
        return path

    def beat(self) -> None:
        """Every backend reports."""
        for heartbeat in self.service._heartbeats:
            heartbeat.beat()

    def export(self, attachment: str) -> StateDir:
        return StateDir(self.state / "exports", attachment)

    def iqn(self, volume: str) -> str:
        return PREFIX + names.volume_name(volume)

    def close(self) -> None:
        self.service.stop()
        for path in (self.state / "exports").iterdir():
            if path.is_dir():
                self.export(path.name).end_process()
        forget_limits(self.state / "exports")


@contextmanager
def planted(**settings: Any) -> Iterator[Planted]:
    """In a folder with a short name, because socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        made = Planted(Path(folder), **settings)
        try:
            yield made
        finally:
            made.close()
