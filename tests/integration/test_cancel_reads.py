"""A fields to stop is seen while a source says nothing, or next to nothing."""

import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.datapath.source import Source
from nbdsvc.images import opening

MIB = 1 << 20
SIZE, STALLS_AT = 64 * MIB, 8 * MIB
# Every source here would go on for at least half a minute by its own timeouts, most for ever.
SOON = 15 * PATIENCE


class Handler(BaseHTTPRequestHandler):
    """64 MiB, of which the first 8 and the last come at once. `drips`: the rest, by a byte a second; else it never comes."""

    drips = False
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Range", f"bytes {start}-{end}/{SIZE}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        at_once = end + 1 - start if start >= SIZE - MIB else max(0, min(end + 1, STALLS_AT) - start)
        self.wfile.write(b"\1" * at_once)
        for _ in range(end + 1 - start - at_once):
            time.sleep(1)
            if self.drips:
                self.wfile.write(b"\1")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(kind: Callable[[], socketserver.BaseServer]) -> Iterator[socketserver.BaseServer]:
    server = kind()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def over_http(*, drips: bool) -> Iterator[Source]:
    class Quiet(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *_: object) -> None:
            """Its clients leave it."""

    handler = type("Mode", (Handler,), {"drips": drips})
    with serving(lambda: Quiet(("127.0.0.1", 0), handler)) as server:
        address = server.server_address
        yield opening.open_http(f"http://127.0.0.1:{address[1]}/disk.raw", opening.How("raw"))[2]


@contextmanager
def silent_function() -> Iterator[Source]:
    """A function that reads from a connection on which nothing comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield sources.open_callback(lambda _at, length: ours.recv(length, socket.MSG_WAITALL), SIZE, "raw", "silent")
        theirs.close()


@contextmanager
def stopped_server(tmp_path: Path) -> Iterator[Source]:
    """An NBD server that is halted once it was connected to."""
    where = tmp_path / "nbd.sock"
    server = subprocess.Popen(["nbdkit", "-f", "-U", str(where), "pattern", str(SIZE)])
    try:
        wait_until(where.exists, SOON)
        source = sources.open_nbd(f"nbd+unix:///?socket={where}")
        server.send_signal(signal.SIGSTOP)
        yield source
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("kind", ["http, silent", "http, dripping", "function", "NBD"])
def test_a_cancel_ends_a_copy_whose_source_says_nothing(kind: str, tmp_path: Path) -> None:
    """A copy that waits for its source ends when it is stopped, long before the source's own patience is at its end."""
    made = {
        "http, silent": lambda: over_http(drips=False),
        "http, dripping": lambda: over_http(drips=True),
        "function": silent_function,
        "NBD": lambda: stopped_server(tmp_path),
    }
    over, outcome = threading.Event(), list[BaseException | None]()

    def run(source: Source) -> None:
        try:
            with sinks.nowhere() as nowhere:
                copy(source, nowhere, size=SIZE, should_stop=over.is_set)
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    with made[kind]() as source, source:
        copier = threading.Thread(target=run, args=(source,))
        copier.start()
        copier.join(1)
        assert not outcome
        over.set()
        copier.join(SOON)
        assert len(outcome) == 1
        assert isinstance(outcome[0], Stopped)


def test_reads_that_were_ended_are_no_success(tmp_path: Path) -> None:
    """A source whose reads are ended by another thread than the copy's: the copy says that it was stopped, not that it is done."""
    with silent_function() as source, source, sinks.nowhere() as nowhere:
        threading.Timer(0.5, source.abort).start()
        with pytest.raises(Stopped):
            copy(source, nowhere, size=SIZE)


@pytest.mark.parametrize("moment", ["opening", "copying"])
def test_a_cancelled_creation_ends_though_its_server_is_silent(
    make_service: Callable[..., ServiceProcess], moment: str
) -> None:
    """The operation that makes a volume of an image on a silent server is cancelled while it is opened and while it is copied."""
    service = make_service(image_http_networks="127.0.0.0/8")
    with socket.create_server(("127.0.0.1", 0)) as silent, over_http(drips=True) as source, source:
        url = source.name if moment == "copying" else f"http://127.0.0.1:{silent.getsockname()[1]}/disk.raw"
        client = service.client()
        made = client.post("volumes", body={"volume": {"size": 1, "imageRef": url}})["volume"]["id"]
        wait_until(lambda: client.get("volumes", made)["volume"]["status"] == "downloading", SOON)
        operation = client.operation_of(made)["id"]
        if moment == "copying":
            wait_until(lambda: client.operation_of(made)["progress"]["done"] > 0, SOON)
        client.act("operations", operation, "cancel")
        wait_until(lambda: client.get("operations", operation)["operation"]["state"] == "cancelled", SOON)
        assert client.get("volumes", made)["volume"]["status"] == "error"
    assert list((service.state / "journals").iterdir()) == []
