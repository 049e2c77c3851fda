"""Requests with JSON to Keystone and Glance: bounded in size and time, never redirected, repeated where that may help."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nbdsvc import errors
from nbdsvc.images.http import answer
from nbdsvc.images.http.access import Access
from nbdsvc.images.http.client import Client
from nbdsvc.images.http.unreachable import Unreachable
from nbdsvc.images.http.url import parse
from nbdsvc.units import MiB

# An image's record has some KiB; a catalogue of a large cloud has some hundred.
_MOST = 4 * MiB
# A service that restarts is back within this. The waits between: 0.25 s, 0.5 s, 1 s ...
PATIENCE_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.25


@dataclass(frozen=True)
class Reply:
    """status; headers by their names in small letters; content: JSON, None for none."""

    status: int
    headers: Mapping[str, str]
    content: Any = None


def never() -> bool:
    """Nothing stops the request."""
    return False


@dataclass(frozen=True)
class Rest:
    """Sends requests to one service. access: its limits; patience: seconds in which a failed request is repeated."""

    access: Access
    patience: float = PATIENCE_SECONDS

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any = None,
        should_stop: Callable[[], bool] = never,
    ) -> Reply:
        """The reply, whatever its status but those of a service that is away. ImageServiceFailed where none comes.

        Only for requests that may be repeated. The wait between two tries ends when `should_stop` says so.
        """
        end, wait = time.monotonic() + self.patience, _FIRST_WAIT_SECONDS
        while True:
            try:
                return self.once(method, url, headers, body)
            except _Away as away:
                if time.monotonic() + wait > end or should_stop():
                    raise failed(url, str(away)) from None
            time.sleep(wait)
            wait *= 2

    def once(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Reply:
        """One try, over a connection of its own."""
        client = Client(self.access)
        sent = None if body is None else json.dumps(body).encode()
        given = {"Accept": "application/json", **({"Content-Type": "application/json"} if sent else {}), **headers}
        try:
            response = client.get(parse(url, "glance_endpoint"), given, method, sent)
            return reply_of(url, response, lambda: _body(client, response, 2 * self.access.silence))
        except Unreachable as error:
            if not error.is_transient and not error.may_restart:
                raise failed(url, str(error)) from None
            raise _Away(str(error)) from None
        finally:
            client.close()


class _Away(Exception):
    """The service does not answer now, and may later."""


def reply_of(url: str, response: Any, read: Callable[[], bytes]) -> Reply:
    """The reply of an answer. Raises for a service that is away, and for one that redirects."""
    status = int(response.status)
    if status in answer.TRANSIENT:
        raise _Away(f"it answered {status}")
    if status in answer.REDIRECTS:
        raise failed(url, f"it redirects ({status}), and tokens are sent to its own address only")
    headers = answer.named_small(response.headers)
    is_json = headers.get("content-type", "").partition(";")[0].strip() == "application/json"
    content = read() if is_json else b""
    try:
        return Reply(status, headers, json.loads(content) if content else None)
    except (ValueError, RecursionError):
        raise failed(url, "its answer is no JSON") from None


def failed(url: str, reason: str) -> errors.ImageServiceFailed:
    """The error, to be raised by the caller; of the URL only the part that is no secret."""
    return errors.ImageServiceFailed(backend=parse(url, "glance_endpoint").shown, reason=reason)


def _body(client: Client, response: Any, seconds: float) -> bytes:
    """seconds: for all of it: a server that sends a byte now and then would keep the limit of each read."""
    content, end = bytearray(), time.monotonic() + seconds
    while piece := client.read(response, MiB):
        content += piece
        if time.monotonic() > end:
            raise Unreachable(f"its answer took more than {seconds:g} s", is_transient=False)
        if len(content) > _MOST:
            raise Unreachable(f"its answer has more than {_MOST} bytes", is_transient=False)
    return bytes(content)
