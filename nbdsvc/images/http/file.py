"""A file on a web server, read in place by byte ranges; without ranges once, in order. No temporary copy.

The file is held to what it was when it was opened: its size, and its ETag or modification time. What may pass (a reset, a
busy server, the end of a signed URL's time) is tried again with a bound; any other answer than the requested one is an
error. Several threads read at once, each over a connection of its own.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import urllib3

from nbdsvc import errors
from nbdsvc.images.http import answer
from nbdsvc.images.http.access import Access
from nbdsvc.images.http.answer import Outcome, Verdict
from nbdsvc.images.http.client import Client
from nbdsvc.images.http.unreachable import Unreachable
from nbdsvc.images.http.url import Url, parse, redirected
from nbdsvc.images.readahead import ReadAhead
from nbdsvc.units import KiB

T = TypeVar("T")
REDIRECTS = 5
# A request is sent so many times, waiting 0.25 s, 0.5 s, 1 s ... or as long as the server says, never longer than this.
TRIES = 6
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 30.0
# A server that sends nothing useful for so long is given up, whatever number of tries that was.
PATIENCE_SECONDS = 120.0
_PIECE = 64 * KiB
# Bytes kept of a stream's beginning and end, so that looks at headers and footers do not fetch the file again and again.
ENDS_KEPT = 256 * KiB


@dataclass
class _Stream:
    """An answer that is read in order, and how far it was read."""

    response: urllib3.BaseHTTPResponse
    pace: "_RateFloor"
    at: int = 0


class HttpFile:
    """`size` (bytes; None: not known before the end), `ranges` (False: only in order), and `pread`.

    `version`: what changes with the content; `name`: for messages. `abort` ends every read, at once and for good.
    """

    def __init__(self, url: str, access: Access | None = None, *, field: str = "imageRef") -> None:
        """InvalidInput of `field` for a URL that is none; ReadFailed for a server or an answer that is no image."""
        self._access = access or Access()
        self._client = Client(self._access)
        self._first = self._target = parse(url, field)
        self._is_open = False
        self._stream: _Stream | None = None
        self._head = self._tail = b""
        self.name = self._first.shown
        self.version = ""
        self.size: int | None = None
        self.ranges = False
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self._ahead = ReadAhead(self._range, self.size or 0)

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or ReadFailed."""
        if length == 0:
            return b""
        return self._ahead.pread(offset, length) if self.ranges else self._in_order(offset, length)

    def read_next(self, offset: int, most: int) -> bytes:
        """Read a file in order: at most `most` bytes from `offset`; empty at its end."""
        return self._from_stream(offset, most, exact=False)

    def mark(self) -> tuple[str, int | None, str]:
        """Values that change with the file's content, for a journal.

        Without a version from the server, every opening counts as another file: an interrupted copy may have written bytes
        of an earlier content.
        """
        return self.name, self.size, self.version or f"opened as {uuid.uuid4()}"

    def abort(self) -> None:
        """End every read, now and for good. May be called by any thread, and again."""
        self._client.abort()

    def close(self) -> None:
        """End every read and close all connections."""
        self._client.close()

    def _open(self) -> None:
        def once() -> None:
            response, verdict = self._ask((0, 0))
            if verdict.ranges:
                self._body(response, 1)
            self.ranges, self.size = verdict.ranges, verdict.total
            self.version = answer.pin_of(answer.named_small(response.headers))
            self._stream = None if verdict.ranges else _Stream(response, _RateFloor(self._access))

        self._again(0, once)
        self._is_open = True

    def _range(self, offset: int, length: int) -> bytes:
        def once() -> bytes:
            response, verdict = self._ask((offset, offset + length - 1))
            if not verdict.ranges or verdict.total != self.size:
                response.close()
                raise self._failed(offset, "the server's file changed while it was read")
            return self._body(response, length)

        return self._again(offset, once)

    def _again(self, offset: int, once: Callable[[], T]) -> T:
        """Repeat `once` while its failure is transient, with a bound; ReadFailed with the last reason."""
        began, wait = time.monotonic(), FIRST_WAIT_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                return once()
            except Unreachable as error:
                late = time.monotonic() - began > PATIENCE_SECONDS
                if attempt == TRIES or late or not (error.is_transient or (error.may_restart and self._is_open)):
                    raise self._failed(offset, str(error)) from error
                self._pause(error.after or wait)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def _ask(self, wanted: tuple[int, int] | None) -> tuple[urllib3.BaseHTTPResponse, Verdict]:
        """An answer whose body is that of this file. Unreachable where it may pass, ReadFailed where it is wrong for good."""
        at, known = wanted[0] if wanted else 0, self._target
        response, verdict, url = self._follow(known, wanted)
        if verdict.outcome is Outcome.BODY and answer.has_pin(answer.named_small(response.headers), self.version):
            self._target = url
            return response, verdict
        response.close()
        if verdict.outcome is Outcome.EXPIRED and known != self._first:
            self._target = self._first  # the signed URL's time is over: the first one names a new one, of the same file
            raise Unreachable(verdict.reason, is_transient=True)
        if verdict.outcome is Outcome.AGAIN:
            raise Unreachable(verdict.reason, is_transient=True, after=_retry_after(response))
        raise self._failed(at, verdict.reason or "the server's file changed while it was read")

    def _follow(self, url: Url, wanted: tuple[int, int] | None) -> tuple[urllib3.BaseHTTPResponse, Verdict, Url]:
        """The answer behind all redirects, what it is, and where it came from."""
        headers = {"Range": f"bytes={wanted[0]}-{wanted[1]}"} if wanted else {}
        for _ in range(REDIRECTS + 1):
            self._client.judge_proxied(url)
            response = self._client.get(url, headers)
            verdict = answer.judge(response.status, answer.named_small(response.headers), wanted)
            if verdict.outcome is not Outcome.REDIRECT:
                return response, verdict, url
            response.close()
            try:
                url = redirected(url, verdict.location)
            except ValueError as error:
                raise self._failed(0, str(error)) from None
        raise self._failed(0, f"it redirects more than {REDIRECTS} times")

    def _body(self, response: urllib3.BaseHTTPResponse, length: int) -> bytes:
        """Exactly `length` bytes, and nothing behind them."""
        content, pace = bytearray(), _RateFloor(self._access)
        try:
            while len(content) <= length:
                piece = pace.read(self._client, response, min(_PIECE, length - len(content)) or 1)
                if not piece:
                    break
                content += piece
        except Unreachable:
            response.close()
            raise
        if len(content) != length:
            response.close()
            said = "more" if len(content) > length else str(len(content))
            raise Unreachable(f"the server sent {said} bytes instead of {length}", is_transient=len(content) < length)
        response.release_conn()
        return bytes(content)

    def _in_order(self, offset: int, length: int) -> bytes:
        content = self._from_stream(offset, length, exact=True)
        if len(content) != length:
            raise self._failed(offset, f"the server sent {len(content)} bytes instead of {length}")
        return content

    def _from_stream(self, offset: int, most: int, *, exact: bool) -> bytes:
        """Read from the kept beginning or end, else from the stream; start a broken stream again."""
        content = self._again(offset, lambda: self._kept(offset, most))

        def once() -> bytes:
            nonlocal content
            self._seek(offset + len(content))
            while len(content) < most and (more := self._step(most - len(content))):
                content += more
                if not exact:
                    break
            return content

        return content if len(content) == most else self._again(offset, once)

    def _kept(self, offset: int, most: int) -> bytes:
        """The bytes of this range that are kept. A read near the end (a footer) fetches all of the end."""
        end = (self.size or 0) - ENDS_KEPT
        if self._stream and offset > max(end, 0) > self._stream.at:
            self._seek(end)
            while more := self._step(ENDS_KEPT):
                self._tail += more
        at = offset - (self.size or 0) + len(self._tail)
        return self._tail[at : at + most] if self._tail and at >= 0 else self._head[offset : offset + most]

    def _seek(self, offset: int) -> None:
        if self._stream is None or offset < self._stream.at:
            if not self.version and offset > len(self._head):
                raise self._failed(offset, "its stream broke, and the server has no ranges and no ETag to go on by")
            self._restart()
        assert self._stream
        while self._stream.at < offset and self._step(min(_PIECE, offset - self._stream.at)):
            pass

    def _step(self, most: int) -> bytes:
        """The stream's next bytes, the first of which are kept."""
        assert self._stream
        try:
            piece = self._stream.pace.read(self._client, self._stream.response, most)
        except Unreachable:
            self._stream.response.close()
            self._stream = None
            raise
        if self._stream.at == len(self._head) < ENDS_KEPT:
            self._head += piece[: ENDS_KEPT - len(self._head)]
        self._stream.at += len(piece)
        return piece

    def _restart(self) -> None:
        """Start the stream at its first byte: the reader went back, or the stream broke. The beginning must be the same."""
        if self._stream:
            self._stream.response.close()
        response, verdict = self._ask(None)
        self._stream, self._tail, kept, again = _Stream(response, _RateFloor(self._access)), b"", self._head, b""
        while len(again) < len(kept) and (more := self._step(len(kept) - len(again))):
            again += more
        if verdict.total != self.size or again != kept:
            response.close()
            raise self._failed(0, "the server's file changed while it was read")

    def _pause(self, seconds: float) -> None:
        if self._client.aborted.wait(min(seconds, LONGEST_WAIT_SECONDS)):
            raise self._failed(0, "it was cancelled")

    def _failed(self, offset: int, reason: str) -> errors.ReadFailed:
        return errors.ReadFailed(source=self.name, offset=offset, reason=reason)


class _RateFloor:
    """Whether a server sends at least the required bytes a second, over a time in which a slow network has its chance.

    Counted is the time in which its bytes are waited for, in rounds of `silence` seconds: a reader that is slow itself, and
    bytes that came quickly an hour ago, say nothing of it.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._waited, self._done = 0.0, 0

    def read(self, client: Client, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Some bytes; empty at the end. Unreachable below the least rate."""
        began = time.monotonic()
        piece = client.read(response, most)
        self._waited += time.monotonic() - began
        self._done += len(piece)
        if piece and self._waited > self._access.silence:
            self._check()
            self._waited, self._done = 0.0, 0
        return piece

    def _check(self) -> None:
        if self._done < self._access.least_rate * self._waited:
            least = f"{self._access.least_rate} a second are the least"
            raise Unreachable(
                f"the server sent {self._done} bytes in {self._waited:.0f} s; {least}", is_transient=False
            )


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds that the server asks to wait; 0 where it does not say, or names a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
