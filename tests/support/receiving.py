"""A web server that takes notifications, and may be slow, away or unwilling."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = b"0123456789abcdef0123456789abcdef"


class Receiver:
    """What it was sent, in order. statuses: its next answers; 200 when there are none left."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.faults: list[str] = []
        self.url = ""
        self.answering = threading.Event()
        self.answering.set()

    def events(self, of: str | None = None) -> list[str]:
        """The event types, of the resource with this id."""
        return [each["event_type"] for each in self.messages if of is None or of in each["payload"].values()]

    def ids(self, of: str | None = None) -> dict[str, str]:
        """message id -> event type: each message once, however often it was sent."""
        found = [each for each in self.messages if of is None or of in each["payload"].values()]
        return {each["message_id"]: each["event_type"] for each in found}

    def take(self, body: bytes, signature: str, id: str) -> int:
        self.answering.wait(60)
        wanted = f"sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}"
        message = json.loads(body)
        if signature != wanted or id != message["message_id"]:
            self.faults.append(f"{signature} is not {wanted}, or {id} is not its id")
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.messages.append(message)
        return status


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = made.take(body, self.headers["X-Nbdsvc-Signature"], self.headers["X-Nbdsvc-Message-Id"])
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/meter?key=1"
    try:
        yield made
    finally:
        made.answering.set()
        server.shutdown()
        server.server_close()
