"""The bytes of an image of Glance, read by ranges with the service user's token, and what makes sure that they are right."""

import threading
from collections.abc import Callable

import urllib3

from nbdsvc import errors
from nbdsvc.images.checksum import Checksum
from nbdsvc.images.glance.client import Glance
from nbdsvc.images.glance.record import Record
from nbdsvc.images.http import answer
from nbdsvc.images.http.answer import Outcome, Verdict
from nbdsvc.images.http.file import HttpFile
from nbdsvc.images.http.url import Url
from nbdsvc.units import MiB

_UNAUTHORIZED = 401


class GlanceFile(HttpFile):
    """The image's data. A token that is refused in the middle is replaced; a redirect is an error.

    An active image never changes, so a range that broke is fetched again.
    """

    def __init__(self, glance: Glance, record: Record) -> None:
        """ReadFailed as of every file; also where it has another size than its record."""
        self._glance = glance
        super().__init__(glance.url(record.id, "file"), glance.access)
        self.name = record.name or record.id
        if self.size != record.size:
            said = f"the image service sends {self.size} bytes of an image that has {record.size}"
            self.close()
            raise errors.ReadFailed(source=self.name, offset=0, reason=said)

    def _follow(self, url: Url, wanted: tuple[int, int] | None) -> tuple[urllib3.BaseHTTPResponse, Verdict, Url]:
        headers = {"Range": f"bytes={wanted[0]}-{wanted[1]}"} if wanted else {}
        token = self._glance.headers()
        response = self._client.get(url, {**headers, **token})
        if response.status == _UNAUTHORIZED:
            response.close()
            response = self._client.get(url, {**headers, **self._glance.headers(token["X-Auth-Token"])})
        verdict = answer.judge(response.status, answer.named_small(response.headers), wanted)
        if verdict.outcome is Outcome.REDIRECT:
            response.close()
            raise self._failed(0, "the image service redirects, and tokens are sent to its own address only")
        return response, verdict, url


class Ordered:
    """The same file, read once in order by one reader, and digested meanwhile: `pread` of opening.open_served.

    A `with` block and `finish`, as images/checksum.Check has them, so that a copy treats both alike.
    """

    ranges = False

    def __init__(self, file: GlanceFile, wanted: Checksum | None) -> None:
        self._file, self._wanted = file, wanted
        self.name, self.size = file.name, file.size or 0
        self.abort = file.abort
        self.read_next = file.read_next
        self._digest = wanted.begin() if wanted else None
        self._at = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "Ordered":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it outlives the block."""

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or ReadFailed. Bytes that come in order are digested."""
        piece = self._file.pread(offset, length)
        with self._lock:
            if self._digest and offset <= self._at < offset + length:
                self._digest.update(piece[self._at - offset :])
                self._at = offset + length
        return piece

    def finish(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Read what no reader has read yet. ChecksumMismatch, ReadFailed; returns early when `should_stop` says so."""
        if self._digest is None or self._wanted is None:
            return
        while self._at < self.size:
            if should_stop():
                return
            self.pread(self._at, min(MiB, self.size - self._at))
        if self._digest.hexdigest() != self._wanted.digest:
            facts = {"expected": self._wanted.digest, "actual": self._digest.hexdigest()}
            raise errors.ChecksumMismatch(source=self.name, **facts)
