"""The API as the command line uses it: the standard library's HTTP, so that a verb starts at once."""

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from nbdsvc import errors

DEFAULT_ENDPOINT = "http://127.0.0.1:8776/v3"
VERSION = "volume 3.44"
# Between two looks at an operation: quick enough for a bar, rare enough for the service.
POLL_SECONDS = 0.15
_ERRORS = {401: errors.Unauthorized, 403: errors.Forbidden, 409: errors.Conflict}


class Client:
    """NBDSVC_ENDPOINT, NBDSVC_TOKEN and NBDSVC_PROJECT say where and who."""

    def __init__(self, endpoint: str | None = None, token: str | None = None, project: str | None = None) -> None:
        self._url = urlsplit(endpoint or os.environ.get("NBDSVC_ENDPOINT") or DEFAULT_ENDPOINT)
        self._project = project or os.environ.get("NBDSVC_PROJECT")
        self._token = (
            token or os.environ.get("NBDSVC_TOKEN") or f"{os.environ.get('USER', 'admin')}:{self._project or 'admin'}"
        )

    def get(self, *path: str, **query: Any) -> Any:
        text = urlencode({key: value for key, value in query.items() if value is not None})
        return self._request("GET", _join(path) + (f"?{text}" if text else ""), None)

    def post(self, *path: str, body: Any) -> Any:
        return self._request("POST", _join(path), body)

    def delete(self, *path: str, **query: Any) -> Any:
        text = urlencode({key: value for key, value in query.items() if value is not None})
        return self._request("DELETE", _join(path) + (f"?{text}" if text else ""), None)

    def act(self, noun: str, id: str, action: str, value: Any = None) -> Any:
        return self.post(noun, id, "action", body={action: value})

    def find(self, noun: str, id_or_name: str) -> dict[str, Any]:
        """A volume or snapshot by id, else by its name; NotFound, or Conflict when several have it."""
        single = noun.rstrip("s")
        try:
            return dict(self.get(noun, id_or_name)[single])
        except errors.NotFound:
            found = self.get(noun, "detail", name=id_or_name)[noun]
        if not found:
            raise errors.NotFound(resource=single.capitalize(), id=id_or_name)
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
        """The operation again and again, until it has ended."""
        while True:
            operation = self.get("operations", id)["operation"]
            yield operation
            if operation["finished_at"]:
                return
            time.sleep(POLL_SECONDS)

    def _request(self, method: str, path: str, body: Any) -> Any:
        kind: Callable[..., http.client.HTTPConnection] = (
            http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(self._url.hostname, self._url.port, timeout=120)
        headers = {"X-Auth-Token": self._token, "OpenStack-API-Version": VERSION, "Content-Type": "application/json"}
        try:
            target = self._url.path.rstrip("/") + (f"/{quote(self._project)}" if self._project else "") + path
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            where = f"{self._url.hostname}:{self._url.port}"
            raise errors.BackendUnavailable(
                backend=f"service at {where}", reason=str(error) or type(error).__name__
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _error(response.status, content)
        return json.loads(content) if content else None


def _join(path: tuple[str, ...]) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in path)


def _error(status: int, content: bytes) -> errors.Error:
    try:
        message = next(iter(json.loads(content).values()))["message"]
    except (ValueError, StopIteration, KeyError, TypeError, AttributeError):
        message = f"the service answered {status}"
    if status == 404:
        return _NotFound(message)
    if status >= 500:
        return errors.BackendUnavailable(backend="service", reason=message)
    return _ERRORS.get(status, _Refused)(reason=message)


class _NotFound(errors.NotFound):
    """The service's own words."""

    template = "{reason}"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class _Refused(errors.RequestError):
    """The service's own words."""

    template = "{reason}"
