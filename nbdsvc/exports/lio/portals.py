"""Portals as an operator writes them: ADDRESS, ADDRESS:PORT, or for IPv6 [ADDRESS]:PORT. 0.0.0.0 or [::]: all of the host."""

import ipaddress
from collections.abc import Iterable

from nbdsvc import errors
from nbdsvc.exports.lio.plan import Portal

# The port that IANA assigned to iSCSI, and the default of Cinder's target_port.
PORT = 3260


def parse(texts: Iterable[str], setting: str = "iscsi_portals") -> list[Portal]:
    """The portals in their order. Raises ConfigError: not an address, a duplicate, none, or one beside a wildcard."""
    found = [_parse(text.strip(), setting) for text in texts if text.strip()]
    if not found or len(set(found)) < len(found):
        raise errors.ConfigError(setting=setting, reason="needs at least one address, and none twice")
    if len(found) > 1 and any(portal.wildcard for portal in found):
        raise errors.ConfigError(setting=setting, reason="all addresses of this host and another one")
    return found


def _parse(text: str, setting: str) -> Portal:
    address, _, port = text.rpartition(":") if "]:" in text or text.count(":") == 1 else (text, "", str(PORT))
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise errors.ConfigError(setting=setting, reason=f"{text}: {error}") from error
    if not 0 < number < 65536:
        reason = f"{text}: its port must be 1 to 65535"
        raise errors.ConfigError(setting=setting, reason=reason)
    return Portal(f"[{ip}]" if ip.version == 6 else str(ip), number)
