"""What several tests do to exports."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import wait_until

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

SIZE = 64 * MiB
NETWORK = Access(network=True)


@dataclass(frozen=True)
class Export:
    """An NBD export that is up, as its folder has it. pid: of the shell that keeps its server."""

    id: str
    name: str
    unix_socket: Path
    port: int | None
    pid: int


def ensure(exporter: NbdExporter, spec: ExportSpec) -> Export:
    """Make it, or find it, and what it is then."""
    exporter.ensure(spec)
    state = StateDir(exporter._root, spec.id)
    note, pid = state.read(), state.pid()
    assert note and pid
    return Export(spec.id, note["name"], state.socket, note["port"], pid)


class Exports:
    """An exporter on a short path, and a volume file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exporter = NbdExporter(folder / "e", "me", "127.0.0.1", (22810, 22860))
        self.path = folder / "volume"
        with self.path.open("wb") as file:
            file.truncate(SIZE)

    def spec(self, tcp: bool = False, **given: Any) -> ExportSpec:
        return ExportSpec(names.new_id(), names.new_id(), Location.file(self.path), Access(network=tcp), **given)

    def up(self, **given: Any) -> tuple[ExportSpec, str]:
        spec = self.spec(**given)
        return spec, str(self.exporter.ensure(spec).data["uri"])

    def pid(self, spec: ExportSpec) -> int | None:
        """Of the shell that keeps its server."""
        return StateDir(self.exporter._root, spec.id).pid()


def killed(exporter: NbdExporter, spec: ExportSpec) -> Export:
    """As it was: its server has died since, and nothing has looked yet."""
    export = ensure(exporter, spec)
    os.kill(export.pid, signal.SIGKILL)
    wait_until(lambda: not exporter.health(spec.id).ok)
    return export
