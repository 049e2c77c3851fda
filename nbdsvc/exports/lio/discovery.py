"""iSCSI discovery: the targets that a portal reports to an initiator, and their portals (RFC 7143, SendTargets,
Appendix C).

One session of the type "Discovery": login without authentication, one text request, its reply, logout. It uses sockets
and not iscsiadm, which would log in with this host's name: LIO reports to each initiator only targets that it may use.

    PDU: 48 bytes of header | data, padded to 4 bytes; data are KEY=VALUE and a zero byte each (sections 11.2 and 6.1)
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

# Seconds for the whole discovery. A portal of this host answers in milliseconds.
TIMEOUT_SECONDS = 10.0
_HEADER = 48
# The longest reply in bytes: more than any initiator's targets need. A portal that sends more is not an iSCSI portal.
_MOST_BYTES = 1 << 20
# Opcodes (section 11.2.1.2), and the immediate bit of requests.
_LOGIN, _TEXT, _LOGOUT, _IMMEDIATE = 0x03, 0x04, 0x06, 0x40
_LOGIN_ANSWER, _TEXT_ANSWER = 0x23, 0x24
# Byte 1: the last PDU of a sequence; in a login, from the operational stage (1) to the full feature phase (3).
_FINAL, _CONTINUED, _TO_FULL_FEATURE = 0x80, 0x40, 0x80 | 1 << 2 | 3
_NO_TAG = 0xFFFFFFFF
# Keys that LIO (6.1) requires: it proposes digests and waits for the reply, and without a data segment length it sends
# empty replies for ever.
_NEGOTIATED = ("HeaderDigest=None", "DataDigest=None", "MaxRecvDataSegmentLength=65536")
# Qualifier 0x80: a random ISID (section 11.12.5), which only has to differ from those of the initiator's own sessions.
_ISID = b"\x80nbdsv"


class DiscoveryFailed(Exception):
    """A portal sent no valid SendTargets reply; the message is the reason."""


def send_targets(address: str, port: int, initiator: str, seconds: float = TIMEOUT_SECONDS) -> list[tuple[str, str]]:
    """(IQN, portal as ADDRESS:PORT) of each target in the SendTargets reply to the initiator. Raises DiscoveryFailed."""
    try:
        with socket.create_connection((address, port), seconds) as sock:
            session = _Session(sock, time.monotonic() + seconds)
            session.login(initiator)
            found = list(_targets(session.request("SendTargets=All")))
            session.logout()
            return found
    except (OSError, DiscoveryFailed) as error:
        raise DiscoveryFailed(f"{address}:{port}: {getattr(error, 'strerror', None) or error}") from error


class _Session:
    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock = sock
        self._end = end
        self._status = 0  # ExpStatSN
        self._command = 1  # CmdSN, which immediate requests do not increment

    def login(self, initiator: str) -> None:
        keys = [f"InitiatorName={initiator}", "SessionType=Discovery", *_NEGOTIATED, ""]
        self._send(_LOGIN | _IMMEDIATE, _TO_FULL_FEATURE, "\0".join(keys).encode(), lun=_ISID + b"\0\0")
        header, _ = self._answer(_LOGIN_ANSWER)
        if status := header[36] << 8 | header[37]:
            raise DiscoveryFailed(f"the login was refused with status {status:#06x}")
        if header[1] & _FINAL == 0:
            raise DiscoveryFailed("the portal wants to negotiate what discovery does not need")

    def request(self, text: str) -> bytes:
        """The whole reply to a text request; its parts are requested one by one (section 6.2)."""
        found, data, tag = b"", text.encode() + b"\0", _NO_TAG
        while True:
            if time.monotonic() > self._end:
                raise DiscoveryFailed("the portal does not come to an end")
            self._send(_TEXT, _FINAL, data, tag=tag)
            self._command += 1
            header, part = self._answer(_TEXT_ANSWER)
            found, data, tag = found + part, b"", struct.unpack_from(">I", header, 20)[0]
            if len(found) > _MOST_BYTES:
                raise DiscoveryFailed("the portal tells of too much")
            if header[1] & _FINAL and not header[1] & _CONTINUED:
                return found

    def logout(self) -> None:
        """End the session. It is no error when the portal closes the connection first."""
        with contextlib.suppress(OSError):
            self._send(_LOGOUT | _IMMEDIATE, _FINAL, b"")

    def _send(self, opcode: int, flags: int, data: bytes, *, lun: bytes = bytes(8), tag: int = _NO_TAG) -> None:
        """Send one PDU. lun: bytes 8 to 15 (ISID and TSIH in a login). tag: of the transfer that is continued."""
        target = 0 if opcode & 0x3F == _LOGIN else tag
        header = struct.pack(">BBHI8sIIII16x", opcode, flags, 0, len(data), lun, 1, target, self._command, self._status)
        self._sock.sendall(header + data + bytes(-len(data) % 4))

    def _answer(self, opcode: int) -> tuple[bytes, bytes]:
        """(header, data) of the next PDU with this opcode; NOP-In PDUs before it are ignored."""
        while True:
            header = self._read(_HEADER)
            length = int.from_bytes(header[5:8], "big")
            data = self._read(header[4] * 4 + length + -length % 4)[header[4] * 4 :][:length]
            if header[0] & 0x3F == opcode:
                self._status = struct.unpack_from(">I", header, 24)[0] + 1
                return header, data
            if header[0] & 0x3F != 0x20:  # NOP-In
                raise DiscoveryFailed(f"the portal answered with opcode {header[0] & 0x3F:#04x}")

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            self._sock.settimeout(max(0.001, self._end - time.monotonic()))
            part = self._sock.recv(length - len(found))
            if not part:
                raise DiscoveryFailed("the portal closed the connection")
            found += part
        return bytes(found)


def _targets(answer: bytes) -> Iterator[tuple[str, str]]:
    """(IQN, ADDRESS:PORT) pairs: each TargetName is followed by its TargetAddress lines, ADDRESS:PORT,GROUP."""
    name = ""
    for line in answer.decode("ascii", "replace").split("\0"):
        key, _, value = line.partition("=")
        if key == "TargetName":
            name = value
        elif key == "TargetAddress" and name:
            yield name, value.partition(",")[0]
