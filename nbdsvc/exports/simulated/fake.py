"""Fake iSCSI and iSER: calls are logged, and no target is configured (S140, S141).

Cinder's fakes return a connection_info without `data`, or with an empty one, which its own manager cannot use (trap T5).
Here it has the keys of a target with a given location, so that a volume can be attached.
"""

from pathlib import Path
from typing import Any

import structlog

from nbdsvc.exporter import Access, ConnectionInfo, Connector, ExportSpec, check_scheme, driver_volume_type
from nbdsvc.exports.simulated.target import SimulatedTarget, missing
from nbdsvc.location import Location
from nbdsvc.model import names

log = structlog.get_logger(__name__)


class FakeTarget(SimulatedTarget):
    """protocol: iSCSI or iSER. prefix: of the targets' IQNs. portal: ADDRESS:PORT, where no target is."""

    def __init__(self, folder: Path, protocol: str, prefix: str, portal: str) -> None:
        super().__init__(folder, f".fake-{protocol.lower()}")
        self.protocol = protocol
        self._prefix, self._portal = prefix, portal

    def accept(self, connector: Connector, location: Location) -> Access:
        """See the contract. Requires `initiator`."""
        check_scheme(self.protocol, location)
        if not connector.initiators:
            raise missing("initiator", self.protocol, "the initiator's name")
        return Access(network=True, initiators=connector.initiators)

    def ensure(self, spec: ExportSpec) -> ConnectionInfo:
        """See the contract."""
        log.info("fake export", command="ensure_export", volume=spec.volume_id, attachment=spec.id)
        return super().ensure(spec)

    def remove(self, export_id: str) -> None:
        """See the contract."""
        if self.health(export_id).ok:
            log.info("fake export", command="remove_export", attachment=export_id)
        super().remove(export_id)

    def _lun(self, spec: ExportSpec, others: list[dict[str, Any]]) -> int:
        """A target has one volume."""
        return 0

    def _info(self, spec: ExportSpec, lun: int) -> ConnectionInfo:
        data = {
            "target_discovered": False,
            "target_portal": self._portal,
            "target_iqn": self._prefix + names.volume_name(spec.volume_id),
            "target_lun": lun,
            "volume_id": spec.volume_id,
            "access_mode": "ro" if spec.read_only else "rw",
            "discard": False,
        }
        return ConnectionInfo(driver_volume_type(self.protocol), data)
