"""A front of a real Glance that lies: for each request it passes on what is true, or what a test wants in its place."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3

_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Front:
    """glance: the URL of the real one. lie: for (method, kind, token) the name of one, or ""; kind: record, file or other.

    `seen`: (method, kind, token) of each request. `elsewhere`: where redirects lead.
    """

    glance: str
    lie: Callable[[str, str, str], str] = lambda _method, _kind, _token: ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    elsewhere: str = "http://127.0.0.1:1/"
    url: str = ""

    def tokens(self, kind: str) -> set[str]:
        return {token for _method, found, token in self.seen if found == kind}


def once(name: str, wanted: str = "file", method: str = "GET", after: int = 0) -> Callable[[str, str, str], str]:
    """This lie for one request of a kind, behind `after` true ones."""
    left = [after]

    def choose(found: str, kind: str, _token: str) -> str:
        if (found, kind) != (method, wanted):
            return ""
        left[0] -= 1
        return name if left[0] == -1 else ""

    return choose


def always(name: str, wanted: str = "file", method: str = "GET") -> Callable[[str, str, str], str]:
    return lambda found, kind, _token: name if (found, kind) == (method, wanted) else ""


def refuse_first_token(wanted: str, method: str, after: int = 0) -> Callable[[str, str, str], str]:
    """401 for the token that comes first, once it was accepted `after` times, as if its time were over."""
    first: list[str] = []

    def choose(found: str, kind: str, token: str) -> str:
        if (found, kind) != (method, wanted):
            return ""
        first.append(token)
        return "unauthorized" if token == first[0] and len(first) > after else ""

    return choose


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names of the library

    def _answer(self) -> None:
        path = self.path.partition("?")[0].split("/")
        kind = "file" if path[-1] == "file" else "record" if path[-2:-1] == ["images"] else "other"
        token = self.headers.get("X-Auth-Token", "")
        self.front.seen.append((self.command, kind, token))
        lie = self.front.lie(self.command, kind, token)
        if lie == "drop":
            self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 64 << 10))
            self.close_connection = True
            return
        status = {"unauthorized": 401, "busy": 503, "full": 413, "redirect": 302, "odd": 418}.get(lie)
        if status:
            self._say(status, b"", {"Location": self.front.elsewhere} if status == 302 else {})
            self.close_connection = True
            return
        if lie == "drip":
            self._drip()
        else:
            self._pass_on(lie)

    def _drip(self) -> None:
        """An answer that never ends, a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b" ")
            time.sleep(0.05)

    def _pass_on(self, lie: str) -> None:
        length = int(self.headers.get("Content-Length", 0))
        given = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        reply = urllib3.request(
            self.command, self.front.glance + self.path, headers=given, body=_Body(self.rfile, length) if length else None,
            timeout=60, retries=False,
        )  # fmt: skip
        headers = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP}
        body, cut = reply.data, 0
        if lie in ("size", "digest", "garbage", "other") and reply.status == 200:
            body = _lied(lie, body)
        elif lie == "changed":
            body = bytes([body[0] ^ 1]) + body[1:]
        elif lie == "truncated":
            cut = min(7, len(body))
        elif lie == "shifted":
            headers["Content-Range"] = headers["Content-Range"].replace("bytes ", "bytes 1")
        self._say(reply.status, body, headers, cut)

    def _say(self, status: int, body: bytes, headers: dict[str, str], cut: int = 0) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Body:
    def __init__(self, file: Any, length: int) -> None:
        self._file, self._left = file, length

    def read(self, most: int = -1) -> bytes:
        piece = self._file.read(min(self._left, most if most > 0 else 1 << 20))
        self._left -= len(piece)
        return bytes(piece)


def _lied(lie: str, body: bytes) -> bytes:
    record = json.loads(body)
    if lie == "garbage":
        return body[:-7]
    if lie == "other":
        return json.dumps({**record, "id": "00000000-0000-4000-8000-000000000001"}).encode()
    if lie == "size":
        return json.dumps({**record, "size": (record["size"] or 0) + 512}).encode()
    return json.dumps({**record, "os_hash_value": "0" * 128}).encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what is tested."""


@contextmanager
def standing(glance: str) -> Iterator[Front]:
    """A front of the Glance at this URL; `url` is its own."""
    front = Front(glance)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"front": front}))
    front.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
