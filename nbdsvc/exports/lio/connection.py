"""The connection_info of a target in Cinder's formats, as pure functions."""

from collections.abc import Sequence
from typing import Any

from nbdsvc.exporter import ConnectionInfo, ExportSpec
from nbdsvc.exports.lio import chap
from nbdsvc.exports.lio.plan import LUN, TPG_TAG, Portal


def _location(iqn: str, portals: Sequence[Portal]) -> str:
    """The provider_location: portals, portal group, IQN, LUN."""
    return f"{';'.join(map(str, portals))},{TPG_TAG} {iqn} {LUN}"


def info(spec: ExportSpec, iqn: str, portals: Sequence[Portal], *, block_size: int, discovered: bool) -> ConnectionInfo:
    """The connection_info of Cinder's iSCSI drivers, without the password.

    block_size: bytes. discovered: the portals are those of a SendTargets reply.
    """
    assert spec.secret is not None
    addresses = [str(portal) for portal in portals]
    data: dict[str, Any] = {
        "target_discovered": discovered,
        "target_portal": addresses[0],
        "target_iqn": iqn,
        "target_lun": LUN,
        "volume_id": spec.volume_id,
        "auth_method": "CHAP",
        "auth_username": chap.user(spec.secret),
        "access_mode": "ro" if spec.read_only else "rw",
        "discard": True,
        "logical_block_size": block_size,
    }
    if len(addresses) > 1 or spec.access.multipath:
        many = len(addresses)
        data |= {"target_portals": addresses, "target_iqns": [iqn] * many, "target_luns": [LUN] * many}
    return ConnectionInfo("iscsi", data, None if discovered else _location(iqn, portals))
