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

THREAD = "HTTP server"


async def nothing_there(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def server() -> Server:
    return Server(uvicorn.Config(nothing_there, log_config=None, lifespan="off"))


@pytest.fixture
def running(server: Server) -> Iterator[int]:
    """Runs it; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=THREAD, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.end()
        thread.join(30)
        assert not thread.is_alive()


def date(port: int) -> str | None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("GET", "/")
    found = client.getresponse().getheader("Date")
    client.close()
    return found


def test_the_date_of_replies_goes_on(running: int) -> None:
    """Only a tick renews it; the fixture sees that the server ends."""
    first = date(running)
    assert first
    wait_until(lambda: date(running) != first, 30)


def test_one_that_is_to_end_before_it_runs(server: Server) -> None:
    """A signal between the handler's begin and the server's."""
    server.end()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        thread.join(30)
    assert not thread.is_alive()


def test_it_may_be_ended_again(server: Server, running: int) -> None:
    """The second signal of an impatient operator is none to the end of operations, which comes when the server has ended."""
    assert date(running)
    server.end()
    wait_until(lambda: not server.servers[0].is_serving(), 30)
    server.end()
    thread = next(each for each in threading.enumerate() if each.name == THREAD)
    thread.join(30)
    server.end()
