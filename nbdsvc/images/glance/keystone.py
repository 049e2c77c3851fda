"""The service user: its token, which is made anew in time, and the place of Glance in the catalogue."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from nbdsvc import errors
from nbdsvc.images.glance.credentials import Credentials
from nbdsvc.images.glance.rest import Rest, failed

# A token is not used for this long before its end: requests take time, and clocks differ.
_MARGIN_SECONDS = 60.0
# A Keystone that says nothing for so long is away.
_SILENCE_SECONDS = 5.0
# A failure is the answer to all requests for a token so soon afterwards.
_PAUSE_SECONDS = 1.0
# A token whose end cannot be read is used for so long.
_DEFAULT_SECONDS = 300.0


class ServiceUser:
    """Thread-safe. A token is kept in memory only."""

    def __init__(self, credentials: Credentials, rest: Rest, endpoint: str = "") -> None:
        # Requests wait for the token, one behind the other.
        quick = replace(rest.access, silence=min(rest.access.silence, _SILENCE_SECONDS))
        self._credentials, self._rest = credentials, Rest(quick, _SILENCE_SECONDS)
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._token = ""
        self._end = 0.0
        self._failed: tuple[float, errors.ImageServiceFailed] | None = None

    def token(self, refused: str = "") -> str:
        """A token; another than `refused`, which a service did not accept. ImageServiceFailed."""
        with self._lock:
            if not self._token or self._token == refused or time.monotonic() > self._end:
                self._renew()
            return self._token

    def _renew(self) -> None:
        """Those that waited for a Keystone that is away do not each find it out."""
        if self._failed and time.monotonic() - self._failed[0] < _PAUSE_SECONDS:
            raise self._failed[1]
        try:
            self._authenticate()
        except errors.ImageServiceFailed as error:
            self._failed = time.monotonic(), error
            raise

    def endpoint(self) -> str:
        """The URL of Glance: the operator's, else the catalogue's. ImageServiceFailed where there is none."""
        if not self._endpoint:
            self.token(self._token)  # a new token comes with the catalogue
        return self._endpoint

    def _authenticate(self) -> None:
        url = f"{self._credentials.auth_url.rstrip('/')}/auth/tokens"
        reply = self._rest.send("POST", url, {}, self._credentials.request())
        token = reply.headers.get("x-subject-token", "")
        if reply.status == 401:
            raise failed(url, "Keystone does not accept the service user (glance_user_file)")
        if reply.status != 201 or not token:
            raise failed(url, f"Keystone answered {reply.status} to the service user's request for a token")
        try:
            found = reply.content["token"]
            self._end = time.monotonic() + _seconds_left(found)
            self._endpoint = self._endpoint or self._find(found.get("catalog") or [])
        except (TypeError, KeyError, AttributeError):
            raise failed(url, "Keystone's answer is no token") from None
        self._token = token

    def _find(self, catalog: "list[dict[str, Any]]") -> str:
        """Its endpoint in the region and of the interface that the credentials name; the first one of several."""
        wanted = self._credentials
        for service in catalog:
            for each in service["endpoints"] if service["type"] == "image" else ():
                if each["interface"] == wanted.interface and wanted.region in ("", each.get("region_id")):
                    return str(each["url"])
        where = f" in region {wanted.region}" if wanted.region else ""
        reason = f"the catalogue has no {wanted.interface} endpoint of an image service{where}"
        raise failed(wanted.auth_url, reason)


def _seconds_left(token: "dict[str, Any]") -> float:
    try:
        end = datetime.fromisoformat(str(token["expires_at"]).replace("Z", "+00:00"))
    except ValueError:
        return _DEFAULT_SECONDS
    left = (end - datetime.now(UTC)).total_seconds()
    return max(left - _MARGIN_SECONDS, left / 2)
