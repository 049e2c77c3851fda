"""A target that is its notes: an export exists while its note does, and nothing serves its bytes.

<exports>/<attachment id><suffix>: version, id, volume_id, location, read_only, initiators, lun.
"""

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exporter import Access, ConnectionInfo, Connector, ExportSpec, Health, Inventory, check_scheme
from nbdsvc.exports.note_files import NoteFiles
from nbdsvc.exports.note_version import noted_location
from nbdsvc.location import Location


class SimulatedTarget(ABC):
    """See nbdsvc/exporter.py for the contract. folder: of the notes; suffix: ends their names."""

    protocol: str

    def __init__(self, folder: Path, suffix: str) -> None:
        self._notes = NoteFiles(folder, suffix)
        # LUNs are given out one at a time.
        self._lock = threading.Lock()

    @abstractmethod
    def accept(self, connector: Connector, location: Location) -> Access:
        """See the contract."""

    @abstractmethod
    def _lun(self, spec: ExportSpec, others: list[dict[str, Any]]) -> int:
        """The LUN of a new export. others: the notes of all other exports."""

    @abstractmethod
    def _info(self, spec: ExportSpec, lun: int) -> ConnectionInfo:
        """The connection_info of an export."""

    def ensure(self, spec: ExportSpec) -> ConnectionInfo:
        """See the contract. The LUN of an export stays while it exists."""
        check_scheme(self.protocol, spec.location)
        with self._lock:
            found = self._notes.read(spec.id)
            lun = found["lun"] if found else self._lun(spec, list(self._notes.all()))
            self._notes.write(spec, lun=lun)
        return self._info(spec, lun)

    def remove(self, export_id: str) -> None:
        """See the contract."""
        self._notes.remove(export_id)

    def resize(self, export_id: str, size: int) -> None:
        """See the contract. The note has no size."""
        return

    def health(self, export_id: str) -> Health:
        """Whether it is noted."""
        return Health() if self._notes.read(export_id) else Health("it is not noted")

    def inventory(self) -> Inventory:
        """See the contract. A target that is its notes has no orphans."""
        return Inventory(tuple(self._notes.ids()))

    def find(self, export_id: str) -> tuple[ExportSpec, ConnectionInfo] | None:
        """See the contract."""
        note = self._notes.read(export_id)
        if note is None:
            return None
        access = Access(network=True, initiators=tuple(note["initiators"]))
        spec = ExportSpec(note["id"], note["volume_id"], noted_location(note), access, note["read_only"])
        return spec, self._info(spec, note["lun"])

    @staticmethod
    def with_secret(info: ConnectionInfo, secret: str) -> ConnectionInfo:
        """These transports have no secrets."""
        return info


def missing(field: str, protocol: str, what: str) -> errors.InvalidInput:
    """The InvalidInput error for a connector without what the transport needs, to be raised by the caller."""
    return errors.InvalidInput(field=f"connector.{field}", value=None, reason=f"{protocol} needs {what}")
