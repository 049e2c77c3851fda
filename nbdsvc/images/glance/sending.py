"""The bytes of a new image on their way to Glance: what a copy writes into a pipe, another thread sends and digests."""

import hashlib
import os
import threading
from collections.abc import Callable

from nbdsvc.images.glance.client import Glance
from nbdsvc.images.glance.rest import failed
from nbdsvc.images.http.client import Client
from nbdsvc.images.http.unreachable import Unreachable
from nbdsvc.images.http.url import parse
from nbdsvc.units import MiB

_TICK_SECONDS = 0.05


class Sending:
    """One PUT of `size` bytes, from its `with` block on. `fd`: where the bytes are written to, in order.

    A body that ends early is never a whole image: its length is said before, and the connection is broken off.
    """

    def __init__(self, glance: Glance, id: str, size: int, headers: dict[str, str]) -> None:
        self._url, self._size, self._headers = glance.url(id, "file"), size, headers
        self._client = Client(glance.access)
        self._digest = hashlib.sha512()
        self._sent = 0
        self._status = 0
        self._failure: Exception | None = None
        self._from, self.fd = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="send-image")

    def __enter__(self) -> "Sending":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the request, if it is not over, and wait for its thread."""
        self._client.abort()
        self._close_end()
        self._thread.join()
        self._client.close()

    def abort(self) -> None:
        """End the request. May be called by any thread, and again."""
        self._client.abort()

    def read(self, most: int = -1) -> bytes:
        """The next bytes, for the connection. OSError where the writer ended early."""
        left = self._size - self._sent
        piece = os.read(self._from, min(left, MiB if most < 0 else most)) if left else b""
        if left and not piece:
            raise OSError("the copy has ended")
        self._digest.update(piece)
        self._sent += len(piece)
        return piece

    def finish(self, should_stop: Callable[[], bool]) -> tuple[int, str]:
        """(status of the answer, SHA-512 of what was sent), once all is written. Unreachable without an answer."""
        self._close_end()
        while self._thread.is_alive() and not should_stop():
            self._thread.join(_TICK_SECONDS)
        if self._failure:
            raise self._failure
        return self._status, self._digest.hexdigest()

    def early(self) -> int:
        """The status with which the service answered before it had all; 0 for none. Unreachable where it broke off."""
        self._thread.join()
        if self._failure:
            raise self._failure
        return self._status

    def _run(self) -> None:
        given = {**self._headers, "Content-Type": "application/octet-stream", "Content-Length": str(self._size)}
        try:
            response = self._client.get(parse(self._url, "glance_endpoint"), given, "PUT", self)
            self._status = int(response.status)
            response.close()
        except Unreachable as error:
            self._failure = error
        except Exception as error:
            self._failure = failed(self._url, f"the request ended: {type(error).__name__}")
        finally:
            os.close(self._from)  # whoever still writes learns that there is no reader

    def _close_end(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
