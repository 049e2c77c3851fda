"""Glance's API v2: the record of an image, a new image, its bytes, its end.

By the service user's token; what a project may see is judged by the token of its request, or by the rules below where
the request has none of Keystone's.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nbdsvc import errors
from nbdsvc.images.glance import record
from nbdsvc.images.glance.keystone import ServiceUser
from nbdsvc.images.glance.record import Record
from nbdsvc.images.glance.rest import Reply, Rest, failed, never
from nbdsvc.images.http.access import Access
from nbdsvc.model.context import Context

_OPEN = ("public", "community")
# Seconds for which a request waits for a Glance that is slow or away.
_REQUEST_SECONDS = 3.0


class Glance:
    """Thread-safe. access: limits of its connections."""

    def __init__(self, user: ServiceUser, sender: Rest) -> None:
        self._user, self._rest = user, sender
        # A request waits for its answer, and its client has a time limit of its own.
        quick = replace(sender.access, silence=min(sender.access.silence, _REQUEST_SECONDS))
        self._quick = Rest(quick, _REQUEST_SECONDS)

    @property
    def access(self) -> Access:
        """The limits of its connections."""
        return self._rest.access

    def url(self, id: str, *path: str) -> str:
        """The URL of an image, or of something of it."""
        base = self._user.endpoint().rstrip("/")
        return "/".join([base if base.endswith("/v2") else f"{base}/v2", "images", *([id] if id else []), *path])

    def headers(self, refused: str = "") -> dict[str, str]:
        """The service user's token; another than `refused`."""
        return {"X-Auth-Token": self._user.token(refused)}

    def find(self, id: str, context: Context) -> Record:
        """The image, as the request may see it. NotFound, Unauthorized for a token that Glance refuses."""
        if context.token:
            return self._find_by_token(id, context.token)
        found = self.get(id, quick=True)
        if not self._is_visible(found, context):
            raise errors.NotFound(resource="Image", id=id)
        return found

    def get(self, id: str, should_stop: Callable[[], bool] = never, *, quick: bool = False) -> Record:
        """The image, whosever it is. NotFound. quick: a Glance that is away is not waited for long."""
        url, sender = self.url(id), self._quick if quick else self._rest
        return _record(url, self._send("GET", url, id, should_stop=should_stop, rest=sender), id)

    def create(self, id: str, fields: Mapping[str, Any], should_stop: Callable[[], bool] = never) -> None:
        """A new image without bytes. Conflict where the id is taken, also by an image that was deleted."""
        self._send("POST", self.url(""), id, {"id": id, **fields}, should_stop)

    def change(self, id: str, field: str, value: Any, should_stop: Callable[[], bool] = never) -> None:
        """Set one field of an image."""
        body = [{"op": "replace", "path": f"/{field}", "value": value}]
        kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        self._send("PATCH", self.url(id), id, body, should_stop, kind)

    def remove(self, id: str, should_stop: Callable[[], bool] = never) -> None:
        """Delete an image; one that is not there is removed."""
        try:
            self._send("DELETE", self.url(id), id, should_stop=should_stop)
        except errors.NotFound:
            return

    def _find_by_token(self, id: str, token: str) -> Record:
        """The user's own token, with the service's: by that Glance accepts one that ends while the request is under way."""
        url = self.url(id)
        service = self._user.token()
        reply = self._quick.send("GET", url, {"X-Auth-Token": token, "X-Service-Token": service})
        if reply.status == 401:  # of either token: the service's may have ended early
            again = {"X-Auth-Token": token, "X-Service-Token": self._user.token(service)}
            reply = self._quick.send("GET", url, again)
        if reply.status == 401:
            raise errors.Unauthorized(reason="The image service does not accept the token of this request.")
        return _record(url, _checked(url, reply, id), id)

    def _is_visible(self, found: Record, context: Context) -> bool:
        """For requests without a token of Keystone's: as Glance would judge a user of that project."""
        if context.is_admin or found.visibility in _OPEN or (found.owner and found.owner == context.project_id):
            return True
        return found.visibility == "shared" and self._is_member(found.id, context.project_id)

    def _is_member(self, id: str, project: str) -> bool:
        if not project.isalnum():
            return False
        try:
            return bool(self._send("GET", self.url(id, "members", project), id, rest=self._quick).content)
        except errors.NotFound:
            return False

    def _send(
        self,
        method: str,
        url: str,
        id: str,
        body: Any = None,
        should_stop: Callable[[], bool] = never,
        more: Mapping[str, str] | None = None,
        rest: Rest | None = None,
    ) -> Reply:
        """A request of the service user; once more with a new token where the old one is not accepted any more."""
        sender = rest or self._rest
        headers = self.headers()
        reply = sender.send(method, url, {**headers, **(more or {})}, body, should_stop)
        if reply.status == 401:
            headers = self.headers(headers["X-Auth-Token"])
            reply = sender.send(method, url, {**headers, **(more or {})}, body, should_stop)
        return _checked(url, reply, id)


def _record(url: str, reply: Reply, id: str) -> Record:
    try:
        return record.parse(reply.content, id)
    except ValueError as error:
        raise failed(url, str(error)) from None


def _checked(url: str, reply: Reply, id: str) -> Reply:
    """The reply of a request that was accepted; else the error."""
    if reply.status < 300:
        return reply
    if reply.status == 404:
        raise errors.NotFound(resource="Image", id=id)
    if reply.status == 409:
        raise errors.Conflict(reason=f"image {id}: the image service says that its state does not allow this (409)")
    raise failed(url, refusal(reply.status))


def refusal(status: int) -> str:
    """What a status means. The text of the answer is another host's, and stays there."""
    known = {
        401: "it does not accept the service user's token (glance_user_file)",
        403: "its policy does not allow this, or a quota is reached (403)",
        413: "the image would pass its size limit or quota (413)",
    }
    return known.get(status, f"it answered {status}")
