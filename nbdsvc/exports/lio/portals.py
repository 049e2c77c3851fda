"""Portals as an operator writes them: ADDRESS, ADDRESS:PORT, or for IPv6 [ADDRESS]:PORT."""

import ipaddress
from collections.abc import Iterable

from nbdsvc import errors
from nbdsvc.exports.lio.plan import Portal

# IANA's, and the reference's target_port.
PORT = 3260


def parse(texts: Iterable[str]) -> list[Portal]:
    """In their order. ConfigError for what is no address, for one twice, and for none at all."""
    found = [_parse(text.strip()) for text in texts if text.strip()]
    if not found or len(set(found)) < len(found):
        raise errors.ConfigError(setting="iscsi_portals", reason="needs at least one address, and none twice")
    return found


def _parse(text: str) -> Portal:
    address, _, port = text.rpartition(":") if "]:" in text or text.count(":") == 1 else (text, "", str(PORT))
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise errors.ConfigError(setting="iscsi_portals", reason=f"{text}: {error}") from error
    if ip.is_unspecified or not 0 < number < 65536:
        reason = f"{text}: must be an address that initiators can reach, and a port of 1 to 65535"
        raise errors.ConfigError(setting="iscsi_portals", reason=reason)
    return Portal(f"[{ip}]" if ip.version == 6 else str(ip), number)
