"""What an initiator is told of a target: the formats of the reference (rows S120 to S124), as pure functions."""

from collections.abc import Sequence
from typing import Any

from nbdsvc.exporter import ConnectionInfo, ExportSpec
from nbdsvc.exports.lio.plan import LUN, TPG_TAG, Portal
from nbdsvc.model import keys


def location(iqn: str, portals: Sequence[Portal]) -> str | None:
    """provider_location (row S120): portals, portal group, IQN, LUN. None where portals are only known by discovery."""
    if any(portal.wildcard for portal in portals):
        return None
    return f"{';'.join(map(str, portals))},{TPG_TAG} {iqn} {LUN}"


def info(
    spec: ExportSpec, iqn: str, portals: Sequence[Portal], *, block_size: int, discovered: bool, multipath: bool
) -> ConnectionInfo:
    """Rows S121 to S124. The password is in it, and nowhere else but in LIO and the attachment's row."""
    assert spec.secret is not None
    addresses = [str(portal) for portal in portals]
    data: dict[str, Any] = {
        "target_discovered": discovered,
        "target_portal": addresses[0],
        "target_iqn": iqn,
        "target_lun": LUN,
        "volume_id": spec.volume_id,
        "auth_method": "CHAP",
        "auth_username": keys.chap_user(spec.secret),
        "auth_password": keys.chap_password(spec.secret),
        "access_mode": "ro" if spec.read_only else "rw",
        "discard": True,
        "logical_block_size": block_size,
    }
    if len(addresses) > 1 or multipath:
        many = len(addresses)
        data |= {"target_portals": addresses, "target_iqns": [iqn] * many, "target_luns": [LUN] * many}
    return ConnectionInfo("iscsi", data)
