"""The client's half of the NBD handshake, against real servers and against servers that lie."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.connectors import handshake
from tests.support import nbdkits

GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)


def _reply(kind: int, content: bytes) -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, 7, kind, len(content)) + content


EXPORT = _reply(3, struct.pack(">HQH", 0, 1 << 20, 0x101))
ACK = _reply(1, b"")


@pytest.fixture
def nbdkit(tmp_path: Path) -> Iterator[str]:
    with nbdkits.nbdkit(tmp_path, "-r", "-e", "vol", "memory", "3M") as (uri, _):
        yield uri.partition("socket=")[2]


def test_size_and_flags_of_a_real_server(nbdkit: str) -> None:
    """Size in bytes, read-only and multi-conn as the server has them; the socket is in transmission phase."""
    link = handshake.connect(nbdkit, None, None, "vol")
    with link.sock as sock:
        assert link.size == 3 << 20
        assert link.flags & handshake.READ_ONLY
        assert link.flags & handshake.CAN_MULTI_CONN
        sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 42, 0, 4096))  # NBD_CMD_READ of the first 4 KiB
        answer = sock.recv(16 + 4096, socket.MSG_WAITALL)
        assert answer == struct.pack(">IIQ", 0x67446698, 0, 42) + bytes(4096)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Said with the reason, by both transports."""
    with pytest.raises(errors.ExportFailed, match="cannot connect: No such file"):
        handshake.connect(str(tmp_path / "nothing"), None, None, "vol")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ExportFailed, match="cannot connect: Connection refused"):
            handshake.connect(None, "127.0.0.1", unused.getsockname()[1], "vol")


def _against(content: bytes) -> handshake.Negotiated:
    """The handshake with a server that sends these bytes, whatever it receives, and hangs up."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(ConnectionResetError):
                peer.sendall(content)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return handshake.connect(None, "127.0.0.1", listener.getsockname()[1], "vol")
        finally:
            thread.join(10)
            assert not thread.is_alive(), "the connection was left open"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request", "fixed newstyle"),
        (b"NBDMAGICIHAVEOPT" + struct.pack(">H", 0), "fixed newstyle"),
        (GREETING, "closed the connection"),
        (GREETING + _reply(1 << 31 | 6, b"no such export"), "refuses it: no such export"),
        (GREETING + _reply(1 << 31 | 5, b""), "refuses it: error 5"),  # NBD_REP_ERR_TLS_REQD
        (GREETING + bytes(20), "malformed"),
        (GREETING + struct.pack(">QIII", 0x3E889045565A9, 7, 3, 1 << 30), "malformed"),
        (GREETING + _reply(3, struct.pack(">HQ", 0, 1)), "closed the connection"),  # the reply has no flags
        (GREETING + ACK, "closed the connection"),  # the list ends without a size
    ],
)
def test_what_a_server_may_say_instead(content: bytes, reason: str) -> None:
    """Each is an ExportFailed with the reason, and the socket is closed."""
    with pytest.raises(errors.ExportFailed, match=reason):
        _against(content)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", GREETING, GREETING + EXPORT]))
def test_any_bytes_end_in_an_answer_or_an_error(garbage: bytes, before: bytes) -> None:
    """Never another exception, and never a wait that only the socket's time limit ends."""
    try:
        link = _against(before + garbage + b"x")
    except errors.ExportFailed as error:
        assert "timed out" not in str(error)
        return
    link.sock.close()
