"""Fibre Channel, as far as clients of the API see it: who may connect, LUNs, and the connection_info (S127, S128).

One target has all volumes, so that an initiator tells them apart by LUN: no port is ever given one LUN twice.
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exporter import Access, ConnectionInfo, Connector, ExportSpec, check_scheme, driver_volume_type
from nbdsvc.exports.simulated.target import SimulatedTarget, missing
from nbdsvc.location import Location

# A world wide name: 64 bits, which tools also write with colons or 0x.
_WWN = re.compile(r"[0-9a-f]{16}")
# More ports than any host has: a connector is written into a note.
_MOST_PORTS = 64


class FibreChannelTarget(SimulatedTarget):
    """wwpns: the port names of the target, of which an initiator gets all."""

    protocol = "FC"

    def __init__(self, folder: Path, wwpns: Sequence[str]) -> None:
        super().__init__(folder, ".fc")
        self._wwpns = parse_ports(wwpns)

    def accept(self, connector: Connector, location: Location) -> Access:
        """See the contract. Requires `wwpns` and `wwnns`; empty ones count as missing."""
        check_scheme(self.protocol, location)
        for field, given in (("wwpns", connector.wwpns), ("wwnns", connector.wwnns)):
            if not given:
                raise missing(field, "Fibre Channel", "the world wide names of the initiator's ports and nodes")
        if len(connector.wwpns) > _MOST_PORTS:
            reason = f"must have at most {_MOST_PORTS} names"
            raise errors.InvalidInput(field="connector.wwpns", value=None, reason=reason)
        return Access(network=True, initiators=tuple(dict.fromkeys(map(_checked_port, connector.wwpns))))

    def _lun(self, spec: ExportSpec, others: list[dict[str, Any]]) -> int:
        """The lowest that none of these ports has. From 1: LUN 0 is that of the array itself."""
        ports = set(spec.access.initiators)
        taken = {note["lun"] for note in others if ports & set(note["initiators"])}
        return next(lun for lun in itertools.count(1) if lun not in taken)

    def _info(self, spec: ExportSpec, lun: int) -> ConnectionInfo:
        data = {
            "target_discovered": True,
            "target_lun": lun,
            "target_wwn": self._wwpns[0] if len(self._wwpns) == 1 else self._wwpns,
            "volume_id": spec.volume_id,
            "access_mode": "ro" if spec.read_only else "rw",
            "discard": False,
        }
        return ConnectionInfo(driver_volume_type(self.protocol), data)


def parse_ports(texts: Sequence[str]) -> list[str]:
    """The target's port names. ConfigError: none, one that is no world wide name, or one twice."""
    found = [_plain(text) for text in texts]
    if not found or len(set(found)) < len(found) or not all(map(_WWN.fullmatch, found)):
        reason = "needs at least one world wide name of 16 hexadecimal digits, and none twice"
        raise errors.ConfigError(setting="fc_target_wwpns", reason=reason)
    return found


def _checked_port(given: str) -> str:
    """The name without colons, in small letters. InvalidInput."""
    if not _WWN.fullmatch(_plain(given)):
        reason = "must be world wide names of 16 hexadecimal digits"
        raise errors.InvalidInput(field="connector.wwpns", value=given[:80], reason=reason)
    return _plain(given)


def _plain(wwn: str) -> str:
    return wwn.strip().lower().removeprefix("0x").replace(":", "")
