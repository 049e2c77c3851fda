"""Serves one file over http, with byte ranges: image_server.py FILE. Prints its URL when it listens."""

import http.server
import os
import sys
from pathlib import Path

FILE = Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    """sendfile(2), so that the server costs both sides as little as can be."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as every real server: else the head waits 40 ms for an acknowledgement

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        at, end = self._head()
        self.wfile.flush()
        with FILE.open("rb") as file:
            while at < end:
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, end - at)

    def _head(self) -> tuple[int, int]:
        """The wanted range's first byte, and the one after its last."""
        size, wanted = FILE.stat().st_size, self.headers.get("Range")
        first, last = 0, size - 1
        if wanted:
            first, last = (int(part or size - 1) for part in wanted.removeprefix("bytes=").split("-"))
            last = min(last, size - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{FILE.stat().st_mtime_ns}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        return first, last + 1

    def log_message(self, *_: object) -> None:
        """Quiet."""


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/image.qcow2", flush=True)
    server.serve_forever()


main()
