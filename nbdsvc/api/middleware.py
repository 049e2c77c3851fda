"""The middleware: request id, size, version, project and author of every request; the headers of every reply.

Plain ASGI, because it runs for every request and FastAPI's own middleware would copy bodies.
"""

import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.api import faults, metrics, microversions
from nbdsvc.api.asgi import Receive, Scope, Send
from nbdsvc.api.auth import Authenticator
from nbdsvc.api.resources import MODULES
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.policy.language import Credentials
from nbdsvc.policy.policy import Permissions, Policy

log = structlog.get_logger(__name__)

# Paths that are served without a token: a client reads them before it has one, or a load balancer polls them.
PUBLIC_PATHS = frozenset({"/", "/v3", "/v3/", "/healthcheck", "/metrics", "/openapi.json", "/docs"})

# Characters that the columns hold.
_MAX_NAME = 255


class _TooLarge(Exception):
    """The body passed the limit while it was read."""


class ApiMiddleware:
    """The ASGI application in front of the routes."""

    def __init__(self, app: Any, authenticator: Authenticator, policy: Policy, max_body: int) -> None:
        self._app = app
        self._authenticator = authenticator
        self._policy = policy
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{names.new_id()}"
        started, outcome = time.perf_counter(), {"status": 500}
        sender = self._sender(send, scope, request_id, outcome)
        try:
            await self._authenticate(scope, request_id)
            await self._app(scope, self._limited(scope, receive), sender)
        except errors.Error as error:
            more = faults.headers(error) | self._challenge(error)
            await _answer(sender, faults.status_of(error), faults.message(error), more)
        except microversions.NotAcceptable as error:
            await _answer(sender, 406, str(error))
        except _TooLarge:
            await _answer(sender, 413, f"The body is larger than {self._max_body} bytes.")
        seconds = time.perf_counter() - started
        metrics.count_request(scope["method"], outcome["status"], seconds)
        log.debug("request", method=scope["method"], path=scope["path"], status=outcome["status"], request=request_id)

    def _challenge(self, error: errors.Error) -> dict[str, str]:
        """How clients find out whose token they need (RFC 9110, 11.6.1)."""
        challenge = self._authenticator.challenge
        return {"WWW-Authenticate": challenge} if challenge and isinstance(error, errors.Unauthorized) else {}

    async def _authenticate(self, scope: Scope, request_id: str) -> None:
        if _is_framed_twice(scope):
            raise errors.InvalidInput(field="Content-Length", value=None, reason="not together with Transfer-Encoding")
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        state = scope.setdefault("state", {})
        state["version"] = microversions.MINIMUM
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_body:
            raise _TooLarge
        if scope["path"] in PUBLIC_PATHS:
            return  # for any requested version: cinderclient requests the version document with its own newest version
        _check_text(scope)
        state["version"] = microversions.parse(headers.get("openstack-api-version"))
        project, scope["path"] = _split(scope["path"])
        scope["raw_path"] = scope["path"].encode()
        context = await self._authenticator.identify(headers, project, request_id)
        state["context"], state["permissions"] = self._permit(context, project)

    def _permit(self, context: Context, project: str | None) -> tuple[Context, Permissions]:
        """The author in the project of the path, and what the policy permits there. Raises InvalidInput."""
        author = Credentials(frozenset(role.lower() for role in context.roles), context.project_id)
        is_admin = self._policy.is_administrator(author)
        roles = context.roles | {ADMIN} if is_admin else context.roles - {ADMIN}
        if project is not None and project != context.project_id and not is_admin:
            raise errors.InvalidInput(field="project_id", value=project[:80], reason="it is not the token's project")
        context = replace(context, project_id=project or context.project_id, roles=roles)
        _check_author(context)
        return context, Permissions(self._policy, replace(author, is_admin=is_admin), context.project_id)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        seen = 0

        async def limited() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body:
                raise _TooLarge
            return message

        return limited

    def _sender(self, send: Send, scope: Scope, request_id: str, outcome: dict[str, int]) -> Send:
        async def sender(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                outcome["status"] = message["status"]
                version = microversions.text(scope.get("state", {}).get("version", microversions.MINIMUM))
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-compute-request-id", request_id.encode()),
                    (b"x-openstack-request-id", request_id.encode()),
                    (b"openstack-api-version", f"volume {version}".encode()),
                    (b"vary", b"OpenStack-API-Version"),
                    *([(b"connection", b"close")] if _is_framed_twice(scope) else []),
                ]
            await send(message)

        return sender


def _is_framed_twice(scope: Scope) -> bool:
    """A body with two lengths (RFC 9112, 6.3): a proxy may use the other one, and read the rest as a request."""
    return {b"content-length", b"transfer-encoding"} <= {key for key, _ in scope["headers"]}


def _split(path: str) -> tuple[str | None, str]:
    """(project, path without it): /v3/PROJECT/volumes is /v3/volumes of that project."""
    parts = path.split("/")
    if len(parts) > 3 and parts[1] == "v3" and parts[2] not in MODULES and parts[3] in MODULES:
        return parts[2], "/".join(["", "v3", *parts[3:]])
    return None, path


def _check_text(scope: Scope) -> None:
    """No database stores or compares NUL, wherever in an address it is."""
    if "\0" in scope["path"]:
        raise errors.NotFound(resource="Resource", id=scope["path"].replace("\0", "%00")[:255])
    if b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
        raise errors.InvalidInput(field="query", value=None, reason="it has the character NUL in it")


def _check_author(context: Context) -> None:
    """A project's and a user's name go into columns, logs and links."""
    for field, name in (("project_id", context.project_id), ("user_id", context.user_id)):
        if len(name) > _MAX_NAME or not name.isprintable():
            reason = f"must be printable text of at most {_MAX_NAME} characters"
            raise errors.InvalidInput(field=field, value=name[:80], reason=reason)


async def _answer(send: Send, status: int, message: str, more: Mapping[str, str] = MappingProxyType({})) -> None:
    content = json.dumps(faults.body(status, message)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status == 413:
        headers.append((b"retry-after", b"0"))
    headers += [(name.lower().encode(), value.encode()) for name, value in more.items() if status != 413]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
