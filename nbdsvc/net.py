"""Which address of this host another one sees."""

import socket


def facing(peer: str) -> str:
    """This host's address on the way to another's, as the routes say; nothing is sent. OSError where there is no route."""
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((peer, 9))
        return str(sock.getsockname()[0])
