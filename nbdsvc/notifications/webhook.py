"""Notifications to a web server: a POST for each, signed."""

import hashlib
import hmac
import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from nbdsvc.model import clock
from nbdsvc.notifications.contract import Outcome

# Seconds for each wait for the receiver, and for all messages of one call: a stop of the service waits for a call.
_WAIT_SECONDS, _CALL_SECONDS = 4.0, 4.0
# The receiver understood these, and will not take them later either.
_REFUSALS = (400, 413, 422)
SIGNATURE = "X-Nbdsvc-Signature"


class Webhook:
    """See Sink. Each body is signed: SIGNATURE is `sha256=` and its HMAC by the secret, hexadecimal."""

    def __init__(self, url: SplitResult, secret: bytes, ca_file: Path | None) -> None:
        self._url, self._secret = url, secret
        self._context = ssl.create_default_context(cafile=ca_file) if url.scheme == "https" else None
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")

    def send(self, messages: list[dict[str, Any]]) -> Outcome:
        """See Sink. Redirects are not followed: they count as faults."""
        connection, end = self._connect(), clock.monotonic() + _CALL_SECONDS
        try:
            for index, each in enumerate(messages):
                status = self._post(connection, json.dumps(each).encode(), each["message_id"])
                if not 200 <= status < 300:
                    return Outcome(index, f"{self._url.hostname} answers {status}", status in _REFUSALS)
                if clock.monotonic() > end:
                    return Outcome(index + 1)
            return Outcome(len(messages))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(index, f"{self._url.hostname}: {error!r}")
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = str(self._url.hostname), self._url.port
        if self._context:
            return http.client.HTTPSConnection(host, port, timeout=_WAIT_SECONDS, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=_WAIT_SECONDS)

    def _post(self, connection: http.client.HTTPConnection, body: bytes, id: str) -> int:
        headers = {
            "Content-Type": "application/json",
            "X-Nbdsvc-Message-Id": id,
            SIGNATURE: f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}",
        }
        connection.request("POST", self._target, body, headers)
        answer = connection.getresponse()
        answer.read(1)  # of a body only so much as shows that it has none; with one, the connection is not used again
        if not answer.isclosed():
            connection.close()
        return answer.status
