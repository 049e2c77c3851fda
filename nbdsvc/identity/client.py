"""The part of Keystone's API v3 that a service needs: a token of its own, and the validation of others' tokens.

https://docs.openstack.org/api-ref/identity/v3/ ("Password authentication with scoped authorization", "Validate and show
information for token").
"""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import urllib3

from nbdsvc import errors

# Connections that are kept; as many as validations at once (tokens.py).
CONNECTIONS = 8
# Bytes of a reply: a token without its catalogue has a few KiB.
_MOST_REPLY = 1 << 20
# Seconds before its end at which the service's own token is renewed, for it must not end on the way.
_MARGIN = 30
# Seconds for which Keystone is not requested again for our own token, after it gave none.
_PAUSE = 1


@dataclass(frozen=True)
class ServiceUser:
    """The user of this service in Keystone: its name and project, with the names of their domains."""

    name: str
    domain: str
    project: str
    project_domain: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """Whose a token is. project_id: None for a token that is scoped to none; expires: seconds since the epoch."""

    user_id: str
    project_id: str | None
    roles: frozenset[str]
    expires: float


def read_password(path: Path) -> str:
    """The first line of the file. ConfigError where others may read it, or it is empty."""
    try:
        is_private = not path.stat().st_mode & 0o077
        lines = path.read_text().splitlines() if is_private else []
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(setting="keystone_password_file", reason=f"{path}: {type(error).__name__}") from None
    if not is_private:
        reason = f"{path} must not be readable by others (chmod 600)"
        raise errors.ConfigError(setting="keystone_password_file", reason=reason)
    if not lines or not lines[0]:
        raise errors.ConfigError(setting="keystone_password_file", reason=f"{path} is empty")
    return lines[0]


class KeystoneClient:
    """Several threads use it at once. Every method raises IdentityUnavailable where Keystone does not do its part."""

    def __init__(self, url: str, user: ServiceUser, ca_file: Path | None, seconds: float) -> None:
        """seconds: how long the next byte of a reply is waited for. ConfigError for a file that has no certificates."""
        self._url = url.rstrip("/").removesuffix("/v3") + "/v3/auth/tokens"
        self._user = user
        self.seconds = seconds
        self._http = urllib3.PoolManager(
            maxsize=CONNECTIONS, timeout=seconds, retries=False, ssl_context=_trust(ca_file)
        )
        self._lock = threading.Lock()
        self._own: tuple[str, float] | None = None
        self._failed: tuple[float, str] | None = None

    def validate(self, token: str, *, allow_expired: bool) -> Identity | None:
        """Whose the token is; None for one that Keystone does not know, or that it has revoked or let expire.

        allow_expired: an expired one is known, for as long as Keystone remembers it.
        """
        for attempt in (1, 2):
            own = self._own_token(renew=attempt == 2)
            url = f"{self._url}?nocatalog{'&allow_expired=1' if allow_expired else ''}"
            status, _, content = self._request("GET", url, {"X-Auth-Token": own, "X-Subject-Token": token})
            if status == 404:
                return None
            if status == 200:
                return _identity(content)
            if status != 401:  # of our own token, which Keystone may have forgotten
                break
        refused = "it does not let the service's user validate tokens" if status in (401, 403) else f"status {status}"
        raise errors.IdentityUnavailable(reason=refused)

    def _own_token(self, *, renew: bool) -> str:
        with self._lock:
            # Those that waited for the lock meanwhile do not wait for the same end one after the other.
            if self._failed and time.monotonic() - self._failed[0] < _PAUSE:
                raise errors.IdentityUnavailable(reason=self._failed[1])
            if renew or self._own is None or self._own[1] - _MARGIN < time.time():
                try:
                    self._own = self._authenticate()
                except errors.IdentityUnavailable as error:
                    self._failed = time.monotonic(), error.reason
                    raise
            return self._own[0]

    def _authenticate(self) -> tuple[str, float]:
        """A new token of our own, and its end."""
        user = self._user
        person = {"name": user.name, "domain": {"name": user.domain}, "password": user.password}
        identity = {"methods": ["password"], "password": {"user": person}}
        scope = {"project": {"name": user.project, "domain": {"name": user.project_domain}}}
        body = json.dumps({"auth": {"identity": identity, "scope": scope}})
        status, headers, content = self._request(
            "POST", f"{self._url}?nocatalog", {"Content-Type": "application/json"}, body
        )
        if status != 201 or not (token := headers.get("X-Subject-Token")):
            reason = "it refuses the service's user" if status == 401 else f"status {status} for the service's user"
            raise errors.IdentityUnavailable(reason=reason)
        return token, _identity(content).expires

    def _request(
        self, method: str, url: str, headers: dict[str, str], body: str | None = None
    ) -> tuple[int, Any, bytes]:
        """Status, headers, content. Sent again once where Keystone had closed a connection that was kept."""
        for attempt in (1, 2):
            try:
                reply = self._http.request(method, url, body=body, headers=headers, preload_content=False)
                content = reply.read(_MOST_REPLY + 1)
                break
            except urllib3.exceptions.HTTPError as error:
                if attempt == 1 and isinstance(error, urllib3.exceptions.ProtocolError):
                    continue
                raise errors.IdentityUnavailable(reason=self._reason(error)) from None
        if len(content) > _MOST_REPLY:
            reply.close()
            raise errors.IdentityUnavailable(reason="its reply is too long")
        return reply.status, reply.headers, content

    def _reason(self, error: Exception) -> str:
        """Not the error's own text, which has the address in it."""
        if isinstance(error, urllib3.exceptions.NewConnectionError):
            return "it takes no connection"
        if isinstance(error, urllib3.exceptions.TimeoutError):
            return f"no reply within {self.seconds:g} seconds"
        if isinstance(error, urllib3.exceptions.SSLError):
            return "its certificate is not trusted"
        return "the connection ended"


def _trust(ca_file: Path | None) -> Any:
    context = urllib3.util.ssl_.create_urllib3_context()
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise errors.ConfigError(setting="keystone_ca_file", reason=f"{ca_file}: {type(error).__name__}") from None
    return context


def _identity(content: bytes) -> Identity:
    try:
        token = json.loads(content)["token"]
        project = token.get("project")
        return Identity(
            str(token["user"]["id"]),
            str(project["id"]) if project else None,
            frozenset(str(role["name"]) for role in token.get("roles", ())),
            datetime.fromisoformat(token["expires_at"]).timestamp(),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise errors.IdentityUnavailable(reason="its reply is none of Keystone's") from None
