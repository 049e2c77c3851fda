"""Addresses of this host."""

import socket


def source_address_for(peer: str) -> str:
    """The local IP address from which the routing table reaches `peer`. Sends no packet. OSError where there is no route."""
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((peer, 9))
        return str(sock.getsockname()[0])
