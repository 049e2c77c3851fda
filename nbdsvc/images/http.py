"""Images behind http(s), read in place by byte ranges; no temporary copy.

Several threads read at once, each over its own connection. The content is pinned by its ETag or modification time: a
source that changes while it is read is an error. Without ranges a raw image is streamed once, in order.
"""

import http.client
import ssl
import threading
from typing import Any
from urllib.parse import urljoin, urlsplit

from nbdsvc import errors
from nbdsvc.images.readahead import ReadAhead

# A server that says nothing for this long is taken for dead; the copy's other threads end with it.
TIMEOUT_SECONDS = 30
REDIRECTS = 5


class HttpFile:
    """A file on a web server: `size`, `ranges` (False: only in order), and `pread`."""

    def __init__(self, url: str) -> None:
        self._local = threading.local()
        self._stream: http.client.HTTPResponse | None = None
        self._stream_at = 0
        self._url = url
        self.name = _shown(url)
        response = self._open("bytes=0-0")
        for _ in range(REDIRECTS):
            if response.status not in (301, 302, 303, 307, 308):
                break
            self._url = urljoin(self._url, response.headers.get("Location", ""))
            self._drop()
            response = self._open("bytes=0-0")
        self.ranges, self.size = self._judge(response)
        # A weak ETag does not promise the same bytes, which is the point of asking.
        tag = response.headers.get("ETag", "")
        self.version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
        self._ahead = ReadAhead(self._range, self.size)
        if self.ranges:
            response.read()
        else:
            self._drop()

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or ReadFailed."""
        if length == 0:
            return b""
        return self._ahead.pread(offset, length) if self.ranges else self._next(offset, length)

    def _range(self, offset: int, length: int) -> bytes:
        response = self._open(f"bytes={offset}-{offset + length - 1}")
        if response.status != 206 or (self.version and self._version(response) != self.version):
            self._drop()
            raise self._failed(offset, f"the server's file changed while it was read (status {response.status})")
        content = self._read(response, length, offset)
        response.read()
        return content

    def _next(self, offset: int, length: int) -> bytes:
        if self._stream is None or offset < self._stream_at:
            self._drop()
            self._stream, self._stream_at = self._open(None), 0
        skip = offset - self._stream_at
        while skip:
            step = min(skip, 1 << 20)
            self._read(self._stream, step, self._stream_at)
            self._stream_at += step
            skip -= step
        content = self._read(self._stream, length, offset)
        self._stream_at += length
        return content

    def _read(self, response: http.client.HTTPResponse, length: int, offset: int) -> bytes:
        try:
            content = response.read(length)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise self._failed(offset, f"the server broke off: {type(error).__name__}") from error
        if len(content) != length:
            self._drop()
            raise self._failed(offset, f"the server sent {len(content)} bytes instead of {length}")
        return content

    def _judge(self, response: http.client.HTTPResponse) -> tuple[bool, int]:
        if response.status == 206:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdigit():
                return True, int(total)
        length = response.headers.get("Content-Length", "")
        if response.status == 200 and length.isdigit():
            return False, int(length)
        reason = f"the server answered {response.status} {response.reason}"
        raise self._failed(0, reason if response.status >= 300 else "the server does not say how long the file is")

    def _version(self, response: http.client.HTTPResponse) -> str:
        return (
            self.version
            if self.version in (response.headers.get("ETag"), response.headers.get("Last-Modified"))
            else ""
        )

    def _open(self, byte_range: str | None) -> http.client.HTTPResponse:
        parts = urlsplit(self._url)
        headers = {"Range": byte_range} if byte_range else {}
        try:
            connection = self._connection(parts)
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise self._failed(0, f"no answer: {type(error).__name__}") from error

    def _connection(self, parts: Any) -> http.client.HTTPConnection:
        """This thread's connection."""
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                found = http.client.HTTPSConnection(
                    parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=context
                )
            elif parts.scheme == "http":
                found = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
            else:
                raise self._failed(0, "it redirects to something that is neither http nor https")
            self._local.connection = found
        return found

    def _drop(self) -> None:
        found = getattr(self._local, "connection", None)
        self._local.connection = None
        self._stream = None
        if found is not None:
            found.close()

    def _failed(self, offset: int, reason: str) -> errors.ReadFailed:
        return errors.ReadFailed(source=self.name, offset=offset, reason=reason)


def _shown(url: str) -> str:
    """The URL as it may appear in messages: without credentials and query, which may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
