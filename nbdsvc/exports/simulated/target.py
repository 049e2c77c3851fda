"""A target that is its notes: an export exists while its note does, and nothing serves its bytes.

<exports>/<attachment id><suffix>: version, id, volume_id, location, read_only, initiators, lun.
"""

import json
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file, errors
from nbdsvc.exporter import Access, ConnectionInfo, Connector, ExportSpec, Health, Inventory, check_scheme
from nbdsvc.exports.note_version import VERSION, check_version, is_whole, noted_location
from nbdsvc.location import Location


class SimulatedTarget(ABC):
    """See nbdsvc/exporter.py for the contract. folder: of the notes."""

    protocol: str
    # Ends the names of its notes, which are in one folder with those of other transports.
    suffix: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # LUNs are given out one at a time.
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

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
            found = self._read(spec.id)
            others = [note for id in self._ids() if id != spec.id and (note := self._read(id))]
            lun = found["lun"] if found else self._lun(spec, others)
            atomic_file.write(self._path(spec.id), json.dumps(_to_json(spec, lun)).encode())
        return self._info(spec, lun)

    def remove(self, export_id: str) -> None:
        """See the contract."""
        self._path(export_id).unlink(missing_ok=True)

    def resize(self, export_id: str, size: int) -> None:
        """See the contract. The note has no size."""
        return

    def health(self, export_id: str) -> Health:
        """Whether it is noted."""
        return Health() if self._read(export_id) else Health("it is not noted")

    def inventory(self) -> Inventory:
        """See the contract. A target that is its notes has no orphans."""
        return Inventory(tuple(self._ids()))

    def find(self, export_id: str) -> tuple[ExportSpec, ConnectionInfo] | None:
        """See the contract."""
        note = self._read(export_id)
        if note is None:
            return None
        access = Access(network=True, initiators=tuple(note["initiators"]))
        spec = ExportSpec(note["id"], note["volume_id"], noted_location(note), access, note["read_only"])
        return spec, self._info(spec, note["lun"])

    @staticmethod
    def with_secret(info: ConnectionInfo, secret: str) -> ConnectionInfo:
        """These transports have no secrets."""
        return info

    def _ids(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob(f"*{self.suffix}"))

    def _read(self, id: str) -> dict[str, Any] | None:
        """The note; None where there is none or it is damaged. ExportFailed for one of a newer version."""
        try:
            note = json.loads(self._path(id).read_text())
        except (FileNotFoundError, ValueError):
            return None
        if not is_whole(note):
            return None
        check_version(id, note)
        return note

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}{self.suffix}"


def missing(field: str, protocol: str, what: str) -> errors.InvalidInput:
    """The InvalidInput error for a connector without what the transport needs, to be raised by the caller."""
    return errors.InvalidInput(field=f"connector.{field}", value=None, reason=f"{protocol} needs {what}")


def _to_json(spec: ExportSpec, lun: int) -> dict[str, Any]:
    return {
        "version": VERSION,
        "id": spec.id,
        "volume_id": spec.volume_id,
        "location": spec.location.to_json(),
        "read_only": spec.read_only,
        "initiators": list(spec.access.initiators),
        "lun": lun,
    }
