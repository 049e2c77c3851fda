"""The HTTP server: ends when it is to end, at whatever moment, and renews the Date of its replies."""

import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from waiting import wait_until

from nbdsvc.cli.http_server import Server


async def nothing_there(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def server() -> Server:
    return Server(uvicorn.Config(nothing_there, log_config=None, lifespan="off"))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def start(server: Server, listener: socket.socket) -> threading.Thread:
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(30)
    return not thread.is_alive()


def date(listener: socket.socket) -> str | None:
    port = listener.getsockname()[1]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("GET", "/")
    found = client.getresponse().getheader("Date")
    client.close()
    return found


def test_the_date_of_replies_goes_on(server: Server, listener: socket.socket) -> None:
    """Only a tick renews it."""
    thread = start(server, listener)
    first = date(listener)
    assert first
    wait_until(lambda: date(listener) != first, 30)
    server.end()
    assert ended(thread)


def test_one_that_is_to_end_before_it_runs(server: Server, listener: socket.socket) -> None:
    """A signal between the handler's begin and the server's."""
    server.end()
    assert ended(start(server, listener))


def test_it_may_be_ended_again(server: Server, listener: socket.socket) -> None:
    """The second signal of an impatient operator is none to the end of operations, which comes when the server has ended."""
    thread = start(server, listener)
    assert date(listener)
    server.end()
    wait_until(lambda: not server.servers[0].is_serving(), 30)
    server.end()
    assert ended(thread)
    server.end()
