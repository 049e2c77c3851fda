"""A web server with byte ranges, and with oddities that a test or a seed chooses for each request."""

import http.server
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

PAGE = b"<html><head><title>Oops</title></head><body>" + b"try later " * 200 + b"</body></html>"


@dataclass
class Site:
    """content: of the file at every path; etag: "" for none; ranges: whether they are honoured.

    oddity: for the number of a request (from 1) the name of one, or "". `requests` counts, `seen` keeps their paths.
    """

    content: bytes
    etag: str = '"one"'
    ranges: bool = True
    length: bool = True
    oddity: Callable[[int], str] = lambda _number: ""
    requests: int = 0
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.site.requests += 1
        number = self.site.requests
        self.site.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        oddity = self.site.oddity(number)
        if self.path.startswith("/first"):
            self._redirect(f"/signed{number}?signature=secret")
        elif self.path in self.site.expired or self.path.startswith("/gone"):
            self._say(403, b"expired")
        elif oddity:
            getattr(self, f"_odd_{oddity}")()
        else:
            self._serve()

    def _serve(self, **change: object) -> None:
        """As it should be, but for what `change` says."""
        wanted, size = self.headers.get("Range"), len(self.site.content)
        first, last = 0, size - 1
        partial = bool(wanted) and self.site.ranges
        if partial:
            first, last = (int(part or size - 1) for part in str(wanted).removeprefix("bytes=").split("-"))
            if first >= size:
                self._say(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            last = min(last, size - 1)
        body = self.site.content[first : last + 1]
        headers = {"Content-Type": "application/octet-stream", "ETag": self.site.etag}
        if partial:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers |= change.get("headers", {})  # type: ignore[arg-type, operator]
        body = change.get("body", body)  # type: ignore[assignment]
        self._say(int(change.get("status", 206 if partial else 200)), body, headers, cut=int(change.get("cut", 0)))  # type: ignore[call-overload]

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = 0) -> None:
        self.send_response(status)
        given = {"Content-Length": str(len(body)), **(headers or {})}
        if not self.site.length and status == 200:
            given |= {"Content-Length": "", "Transfer-Encoding": "chunked"}
        for name, value in given.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if given.get("Transfer-Encoding") == "chunked":
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.wfile.write(body[: len(body) - cut])
        if cut:
            self._end()

    def _end(self) -> None:
        self.close_connection = True

    def _redirect(self, location: str) -> None:
        self._say(302, b"", {"Location": location})

    def _odd_close(self) -> None:
        self._end()

    def _odd_reset(self) -> None:
        self.connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER with 0 seconds: close sends a reset
        self.connection.shutdown(0)
        self._end()

    def _odd_busy(self) -> None:
        self._say(503, b"busy", {"Retry-After": "0"})

    def _odd_truncated(self) -> None:
        self._serve(cut=7)

    def _odd_start(self) -> None:
        length = len(self._wanted())
        headers = {"Content-Range": f"bytes 0-{length - 1}/{len(self.site.content)}"}
        self._serve(body=self.site.content[:length], headers=headers)

    def _odd_shifted(self) -> None:
        """Redirects each request."""
        first = len(self.site.content) // 2
        body = self.site.content[first : first + len(self._wanted())]
        self._serve(
            body=body, headers={"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(self.site.content)}"}
        )

    def _odd_short(self) -> None:
        """A shorter body than the range that it says, honestly framed."""
        self._serve(body=self._wanted()[:-1])

    def _odd_long(self) -> None:
        self._serve(body=self._wanted() + b"x")

    def _odd_whole(self) -> None:
        self._say(200, self.site.content, {"ETag": self.site.etag})

    def _odd_other(self) -> None:
        self._serve(headers={"ETag": '"two"'}, body=bytes(len(self._wanted())))

    def _odd_html(self) -> None:
        self._say(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})

    def _odd_gzip(self) -> None:
        self._serve(headers={"Content-Encoding": "gzip"})

    def _odd_grown(self) -> None:
        first = self.headers["Range"].removeprefix("bytes=").split("-")[0]
        last = int(first) + len(self._wanted()) - 1
        self._serve(headers={"Content-Range": f"bytes {first}-{last}/{len(self.site.content) + 512}"})

    def _odd_slow(self) -> None:
        time.sleep(0.05)
        self._serve()

    def _odd_silent(self) -> None:
        time.sleep(30)
        self._end()

    def _odd_drip(self) -> None:
        self.send_response(206)
        first = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        body = self._wanted()
        self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.site.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.site.etag)
        self.end_headers()
        for index in range(min(len(body), 300)):
            self.wfile.write(body[index : index + 1])
            time.sleep(0.1)

    def _odd_head(self) -> None:
        """One byte of the head after the other."""
        for byte in b"HTTP/1.1 206 " + b"x" * 200:
            self.wfile.write(bytes([byte]))
            time.sleep(0.1)
        self._end()

    def _odd_lost(self) -> None:
        self._redirect("/gone")

    def _wanted(self) -> bytes:
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        return self.site.content[first : last + 1]

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what is tested."""


PASSING = ("close", "reset", "busy", "truncated", "slow")
WRONG = ("start", "shifted", "short", "long", "whole", "other", "html", "gzip", "grown", "lost")


def at_random(seed: int, wrong: Sequence[str] = WRONG, often: float = 0.25) -> Callable[[int], str]:
    """An oddity for some requests, by a seed: mostly such as pass, else one of `wrong`."""
    dice = random.Random(seed)
    lock = threading.Lock()

    def choose(_number: int) -> str:
        with lock:
            if dice.random() >= often:
                return ""
            return dice.choice(PASSING if dice.random() < 0.85 else wrong)

    return choose


def install(odd: dict[str, Callable[..., None]]) -> Callable[[int], str]:
    """An oddity of the test's own, for each request."""
    for name, answer in odd.items():
        setattr(_Handler, f"_odd_{name}", answer)
    return lambda _number: next(iter(odd))


@contextmanager
def serving(site: Site, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The site, at the URL that is yielded, without a path."""
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
