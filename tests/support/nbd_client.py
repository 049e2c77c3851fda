"""A client of NBD by its bytes, which does on purpose what libraries do not: hang up, not read, stay for long."""

import socket
import struct
from pathlib import Path


def connected(path: Path) -> socket.socket:
    """In transmission phase, by the old way that needs no options (NBD_OPT_EXPORT_NAME of the NBD protocol)."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(path))
    assert receive(sock, 18).startswith(b"NBDMAGIC")
    sock.sendall(struct.pack(">I", 3) + struct.pack(">QII", 0x49484156454F5054, 1, 0))
    receive(sock, 10)
    return sock


def receive(sock: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        more = sock.recv(length - len(content))
        if not more:
            raise ConnectionResetError
        content += more
    return content


def ask(sock: socket.socket, length: int, cookie: int = 1) -> None:
    sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, cookie, 0, length))


def read(sock: socket.socket, length: int = 512) -> bytes:
    """The first `length` bytes of the export."""
    ask(sock, length)
    return receive(sock, 16 + length)[16:]


def write(sock: socket.socket, offset: int, content: bytes) -> None:
    """Write and flush; OSError where the server does not confirm both."""
    for kind, at, payload in ((1, offset, content), (3, 0, b"")):
        sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 0, at, len(payload)) + payload)
        if receive(sock, 16)[:8] != struct.pack(">II", 0x67446698, 0):
            raise OSError("the export did not take the write")
