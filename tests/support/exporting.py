"""What several tests do to exports."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from nbdsvc.exporter import Export, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.model import names
from nbdsvc.units import MiB

SIZE = 64 * MiB


class Exports:
    """An exporter on a short path, and a volume file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exporter = NbdExporter(folder / "e", "me", "127.0.0.1", (22810, 22860))
        self.path = folder / "volume"
        with self.path.open("wb") as file:
            file.truncate(SIZE)

    def spec(self, **given: Any) -> ExportSpec:
        return ExportSpec(names.new_id(), names.new_id(), self.path, **given)

    def up(self, **given: Any) -> tuple[ExportSpec, str]:
        spec = self.spec(**given)
        self.exporter.create_export(spec)
        host = "elsewhere" if spec.tcp else "me"
        uri = self.exporter.initialize_connection(spec, {"host": host}).data["uri"]
        return spec, str(uri)


def killed(exporter: NbdExporter, spec: ExportSpec) -> Export:
    """As it was: its server has died since, and nobody has looked yet."""
    export = exporter.create_export(spec)
    assert export.pid
    os.kill(export.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while exporter.healthy(spec.id) and time.monotonic() < end:
        time.sleep(0.01)
    return export
