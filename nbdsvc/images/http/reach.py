"""The addresses that a URL may lead to: a URL of a project must not reach a network that only this host reaches.

A service that fetches for its users is a way into its own network: its loopback, its management network, the metadata
service of a cloud (CWE-918). So each address is judged after the name was resolved, and the connection goes to the judged
address, so that a name that resolves differently the next time changes nothing.
"""

import contextlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from nbdsvc import net

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Prefixes of IPv6 that carry an IPv4 address in their last four bytes: RFC 6052 (NAT64) and RFC 4291 (compatible).
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


@dataclass(frozen=True)
class Reach:
    """Public addresses, and what the operator lists: networks, and hosts by their names (in small letters)."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, listed: Iterable[str]) -> "Reach":
        """A Reach of entries such as "10.0.0.0/8", "::1" and "images.example". ValueError names a bad entry."""
        networks, hosts = [], set()
        for text in (part.strip().lower() for part in listed):
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                if not text or set(text) & set("/:@ "):
                    raise ValueError(f"{text!r} is neither a network nor a host's name") from None
                hosts.add(text)
        return cls(tuple(networks), frozenset(hosts))

    def allows(self, host: str, address: str) -> bool:
        """Whether `host`, which resolves to `address`, may be fetched from. ValueError where that is no address."""
        found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        if host.lower() in self.hosts or any(found in network for network in self.networks):
            return True
        inner = found.is_multicast or found.is_reserved or getattr(found, "is_site_local", False)
        return found.is_global and not inner and not _is_own(found)

    def refuses_literal(self, host: str) -> bool:
        """Whether the host is an address, or a name of this host, that is refused without resolving anything."""
        if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
            return not self.allows(host, "127.0.0.1")
        with contextlib.suppress(ValueError):
            return not self.allows(host, host)
        return False


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, in each of the ways to write one as the other."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address.teredo:
        return address.teredo[1]
    if address not in (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1")) and any(
        address in network for network in _EMBEDDING
    ):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_own(address: Address) -> bool:
    """Whether the address is one of this host: only such an address is reached from itself."""
    with contextlib.suppress(OSError):  # without a route, no address of this family is reachable
        return net.source_address_for(str(address)) == str(address)
    return False
