"""What several tests do to exports."""

import os
import signal
import time

from nbdsvc.exporter import Export, ExportSpec
from nbdsvc.exports.nbd import NbdExporter


def killed(exporter: NbdExporter, spec: ExportSpec) -> Export:
    """As it was: its server has died since, and nobody has looked yet."""
    export = exporter.create_export(spec)
    assert export.pid
    os.kill(export.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while exporter.healthy(spec.id) and time.monotonic() < end:
        time.sleep(0.01)
    return export
