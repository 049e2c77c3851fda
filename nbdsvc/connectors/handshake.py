"""The client's half of an NBD handshake, up to transmission: for sockets that are then handed to the kernel.

Source: the NBD protocol, "Newstyle negotiation", "Option types" and "Option reply types"
(https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). Options that the kernel's client cannot use are
not requested: TLS and structured replies.
"""

import contextlib
import socket
import struct
from dataclasses import dataclass

from nbdsvc import errors

_NBDMAGIC, _IHAVEOPT, _REPLY = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_GO = 7
_REP_ACK, _REP_INFO, _REP_ERROR = 1, 3, 1 << 31
_INFO_EXPORT = 0
# Transmission flags of the export.
HAS_FLAGS, READ_ONLY, CAN_MULTI_CONN = 1 << 0, 1 << 1, 1 << 8
# Seconds. A running server answers within this time, also on a loaded host.
ANSWER_SECONDS = 10.0
# The longest reply of this negotiation in bytes: names and messages have at most 4096 bytes.
_LONGEST = 64 * 1024


@dataclass(frozen=True)
class Negotiated:
    """A connection in transmission phase. size: bytes of the export; flags: its transmission flags."""

    sock: socket.socket
    size: int
    flags: int


def connect(unix_socket: str | None, host: str | None, port: int | None, export: str) -> Negotiated:
    """Connect and negotiate. Raises ExportFailed when the server or the export does not exist."""
    try:
        sock = _dial(unix_socket, host, port)
    except OSError as error:
        raise errors.ExportFailed(export=export, reason=f"cannot connect: {error.strerror or error}") from error
    with contextlib.ExitStack() as unless_done:
        unless_done.callback(sock.close)
        try:
            size, flags = _negotiate(sock, export)
        except OSError as error:
            raise errors.ExportFailed(export=export, reason=f"handshake: {error.strerror or error}") from error
        sock.settimeout(None)
        unless_done.pop_all()
    return Negotiated(sock, size, flags)


def _dial(unix_socket: str | None, host: str | None, port: int | None) -> socket.socket:
    if unix_socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(unix_socket)
        return sock
    sock = socket.create_connection((host or "", port or 0), timeout=ANSWER_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _negotiate(sock: socket.socket, export: str) -> tuple[int, int]:
    magic, style, server = struct.unpack(">QQH", _read(sock, 18))
    if (magic, style) != (_NBDMAGIC, _IHAVEOPT) or not server & _FIXED_NEWSTYLE:
        raise errors.ExportFailed(export=export, reason="the server does not speak fixed newstyle NBD")
    name = export.encode()
    body = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
    client = _FIXED_NEWSTYLE | (server & _NO_ZEROES)
    sock.sendall(struct.pack(">I", client) + struct.pack(">QII", _IHAVEOPT, _OPT_GO, len(body)) + body)
    found: tuple[int, int] | None = None
    while True:
        kind, content = _reply(sock, export)
        if kind == _REP_INFO and len(content) == 12 and content[:2] == struct.pack(">H", _INFO_EXPORT):
            found = struct.unpack(">QH", content[2:])
        elif kind == _REP_ACK and found:
            return found
        elif kind & _REP_ERROR:
            reason = content.decode(errors="replace")[:200] or f"error {kind & ~_REP_ERROR}"
            raise errors.ExportFailed(export=export, reason=f"the server refuses it: {reason}")


def _reply(sock: socket.socket, export: str) -> tuple[int, bytes]:
    magic, _option, kind, length = struct.unpack(">QIII", _read(sock, 20))
    if magic != _REPLY or length > _LONGEST:
        raise errors.ExportFailed(export=export, reason="the server's option reply is malformed")
    return kind, _read(sock, length)


def _read(sock: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        more = sock.recv(length - len(content))
        if not more:
            raise ConnectionResetError(104, "the server closed the connection")
        content += more
    return content
