"""The API as the command line uses it: the standard library's HTTP, so that a verb starts at once."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from nbdsvc import errors
from nbdsvc.cli import endpoint as endpoints

# The oldest that has what nearly all commands ask for, so that they also work with a service of the version before.
VERSION = "volume 3.44"
# Seconds between two requests for an operation's progress.
POLL_SECONDS = 0.15
# Seconds: the reply to a create comes after its commit, which may wait for a busy database.
TIMEOUT_SECONDS = 120
# Resources whose name in a path is not that in a body: one, several, and whether /detail lists them whole.
_ENVELOPES = {
    "types": ("volume_type", "volume_types", False),
    "qos-specs": ("qos_specs", "qos_specs", False),
    "volume-transfers": ("transfer", "transfers", True),
}
_HINT = "is NBDSVC_ENDPOINT right?"
_ERRORS = {401: errors.Unauthorized, 403: errors.Forbidden, 409: errors.Conflict}


class _Answer(dict[str, Any]):
    """The JSON of a reply, which need not come from our API."""

    def __missing__(self, key: str) -> Any:
        raise errors.BackendUnavailable(backend="service", reason=f"its answer has no {key!r}: {_HINT}")


class Client:
    """The API at an endpoint, see cli/endpoint.py. Proxies are not used: the service is on this host or a near one."""

    def __init__(self, endpoint: str | None = None, token: str | None = None, project: str | None = None) -> None:
        self._endpoint = endpoints.load(endpoint, token, project)

    @property
    def project(self) -> str | None:
        """The project that the user named; None where the token says it."""
        return self._endpoint.project

    def get(self, *path: str, **query: Any) -> Any:
        """GET a path below the project. Raises the service's error, or BackendUnavailable."""
        return self._request("GET", _join(path) + _query(query), None)

    def post(self, *path: str, body: Any, version: str = VERSION) -> Any:
        """POST a body. Raises the service's error, or BackendUnavailable."""
        return self._request("POST", _join(path), body, version)

    def put(self, *path: str, body: Any) -> Any:
        """PUT a body. Raises the service's error, or BackendUnavailable."""
        return self._request("PUT", _join(path), body)

    def delete(self, *path: str, **query: Any) -> Any:
        """DELETE a path. Raises the service's error, or BackendUnavailable."""
        return self._request("DELETE", _join(path) + _query(query), None)

    def act(self, noun: str, id: str, action: str, value: Any = None, version: str = VERSION) -> Any:
        """POST one action of a resource. Raises the service's error, or BackendUnavailable."""
        return self.post(noun, id, "action", body={action: value}, version=version)

    def find(self, noun: str, id_or_name: str) -> dict[str, Any]:
        """A resource by id, else by its name; NotFound, or Conflict when several have it."""
        single, plural, detail = _ENVELOPES.get(noun, (noun.rstrip("s"), noun, True))
        shown = single.replace("_", " ").capitalize()
        if not id_or_name:
            raise errors.NotFound(resource=shown, id="without a name")
        try:
            return dict(self.get(noun, id_or_name)[single])
        except errors.NotFound:
            listed = self.get(noun, "detail", name=id_or_name) if detail else self.get(noun)
            found = [each for each in listed[plural] if each["name"] == id_or_name]
        if not found:
            raise errors.NotFound(resource=shown, id=id_or_name)
        if len(found) > 1:
            raise errors.Conflict(reason=f"{len(found)} {noun} are called {id_or_name}: use the id")
        return dict(found[0])

    def operation_of(self, resource_id: str) -> dict[str, Any]:
        """The newest operation on a resource."""
        found = self.get("operations", resource_id=resource_id, sort="created_at:desc", limit=1)["operations"]
        if not found:
            raise errors.NotFound(resource="Operation on", id=resource_id)
        return dict(found[0])

    def follow(self, id: str) -> Iterator[dict[str, Any]]:
        """The operation at intervals, until it has ended, however long that takes: deadlines are the operation's.

        Where another operation goes on with it, that one is followed.
        """
        while True:
            operation = self.get("operations", id)["operation"]
            yield operation
            if operation.get("continued_by"):
                id = operation["continued_by"]
            elif operation["finished_at"]:
                return
            time.sleep(POLL_SECONDS)

    def _request(self, method: str, path: str, body: Any, version: str = VERSION) -> Any:
        at = self._endpoint
        kind = http.client.HTTPSConnection if at.secure else http.client.HTTPConnection
        connection = kind(at.host, at.port, timeout=TIMEOUT_SECONDS)
        headers = {"X-Auth-Token": at.token, "OpenStack-API-Version": version, "Content-Type": "application/json"}
        try:
            target = at.path + (_join((at.project,)) if at.project else "") + path
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(_reason(error, at.secure)) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise self._error(response, content)
        if response.status >= 300:
            place = response.headers.get("Location", "nowhere").partition("?")[0]
            raise self._unavailable(f"it redirects to {place}: {_HINT}")
        return self._answer(response, content) if content else None

    def _answer(self, response: http.client.HTTPResponse, content: bytes) -> _Answer:
        try:
            return _Answer(dict(json.loads(content)))
        except (ValueError, TypeError, RecursionError):
            raise self._unavailable(f"it answers {_kind(response)}, not the JSON of the API: {_HINT}") from None

    def _error(self, response: http.client.HTTPResponse, content: bytes) -> errors.Error:
        try:
            message = str(next(iter(json.loads(content).values()))["message"])
        except (ValueError, StopIteration, KeyError, TypeError, AttributeError, RecursionError):
            return self._unavailable(
                f"it answers {response.status} with {_kind(response)}, as the API never does: {_HINT}"
            )
        if response.status == 404:
            return _NotFound(message)
        if response.status >= 500:
            return errors.BackendUnavailable(backend="service", reason=message)
        return _ERRORS.get(response.status, _Refused)(reason=message)

    def _unavailable(self, reason: str) -> errors.BackendUnavailable:
        return errors.BackendUnavailable(backend=f"service at {self._endpoint.where}", reason=reason)


def _join(path: tuple[str, ...]) -> str:
    return "".join(f"/{quote(part, safe='', errors='surrogateescape')}" for part in path)


def _query(values: dict[str, Any]) -> str:
    text = urlencode({key: value for key, value in values.items() if value is not None}, errors="surrogateescape")
    return f"?{text}" if text else ""


def _kind(response: http.client.HTTPResponse) -> str:
    return response.headers.get("Content-Type", "something without a type").partition(";")[0]


def _reason(error: Exception, secure: bool) -> str:
    """The reason why there is no reply: the cause of a failed handshake, and that a proxy was not used."""
    text = str(getattr(error, "verify_message", "") or getattr(error, "strerror", "") or error or type(error).__name__)
    if isinstance(error, http.client.BadStatusLine | http.client.RemoteDisconnected | ConnectionResetError):
        text += "" if secure else "; does it want https://?"
    name = next(
        (name for name in (("https_proxy", "HTTPS_PROXY") if secure else ("http_proxy",)) if name in os.environ), ""
    )
    return " ".join(text.split()) + (f" ({name} is set, and not used for this)" if name else "")


class _NotFound(errors.NotFound):
    """The service's own message."""

    template = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class _Refused(errors.RequestError):
    """The service's own message."""

    template = "{reason}"
