"""Clients that keep the API waiting, over real sockets."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from serving import ServiceProcess

PATIENCE = 60.0
START = b"GET /v3/ HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v3/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
def dial(service: ServiceProcess) -> Callable[[bytes], socket.socket]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 4096 else max(soft, 4096), hard))
    where = urlsplit(service.url)

    def dialled(sent: bytes) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect((where.hostname, where.port or 0))
        sock.sendall(sent)
        return sock

    return dialled


def ended(sock: socket.socket) -> bool:
    """Within PATIENCE."""
    with sock, contextlib.suppress(ConnectionError):
        while sock.recv(1 << 16):
            pass
    return True


def answer(sock: socket.socket) -> bytes:
    return sock.recv(1 << 16).partition(b"\r\n")[0]


def test_half_requests_keep_nobody_out(service: ServiceProcess, dial: Callable[[bytes], socket.socket]) -> None:
    """1,500 half headers, a body that drips and replies that no client reads: others are answered, and these are ended."""
    half = [dial(START) for _ in range(1500)]
    for _ in range(5):
        assert service.client().get("volumes") == {"volumes": []}
    dripping = dial(POST + b"Content-Length: 100\r\n\r\n{")
    full = dial(b"")
    full.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            full.sendall((START + b"\r\n") * 100)
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            dripping.sendall(b" ")
            time.sleep(0.5)
    assert time.monotonic() < end
    poll = select.poll()
    poll.register(full, 0)  # waits for the connection's end only: reading from it would end the server's wait
    assert poll.poll(PATIENCE * 1000)
    full.close()
    assert all(ended(sock) for sock in half)
    assert service.client().get("volumes") == {"volumes": []}


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"X: a\0b\r\n\r\n",
        b"X : a\r\n\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(20000)),
    ],
    ids=["two ends", "two lengths", "negative", "coding", "NUL", "space", "bomb"],
)
def test_a_request_with_odd_framing_is_refused_and_ends_the_connection(
    dial: Callable[[bytes], socket.socket], headers: bytes
) -> None:
    """What follows would be a request to one reader and a body to another."""
    with dial(b"") as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(POST + headers)
        assert answer(sock).split()[1] in (b"400", b"431", b"501")
        assert ended(sock)
