"""Authenticates requests by tokens of Keystone.

A token is looked for in the cache; else Keystone is requested in a thread, for one request of each token at a time, while
the event loop serves other requests. A service (Nova in a long migration) sends its own X-Service-Token beside the token
of its user, which may have expired meanwhile (keystonemiddleware, "Service tokens").
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import anyio
import anyio.to_thread
import structlog

from nbdsvc import errors
from nbdsvc.identity.cache import TokenCache
from nbdsvc.identity.client import CONNECTIONS, Identity, KeystoneClient
from nbdsvc.model.context import Context

log = structlog.get_logger(__name__)

# Characters: Fernet's have 255, JWS's about 1000.
_MOST_TOKEN = 8192
# Tokens that wait for Keystone at once. Later ones are refused at once, and not after their timeouts.
_MOST_WAITING = 256
# Seconds, and how many, unknown tokens are remembered: who repeats one does not keep Keystone busy, and it is never
# unknown for long where Keystone's own hosts were not of one mind.
_UNKNOWN_SECONDS, _UNKNOWN_TOKENS = 10, 1024


class KeystoneTokens:
    """An Authenticator (nbdsvc/api/auth.py).

    public_url: Keystone's address for clients; cache_seconds, cache_tokens: how long and how many tokens are remembered;
    service_roles: of which an X-Service-Token needs one.
    """

    def __init__(
        self,
        client: KeystoneClient,
        *,
        public_url: str,
        cache_seconds: float,
        cache_tokens: int,
        service_roles: frozenset[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.challenge = f'Keystone uri="{public_url}"'
        self._client = client
        self._known: TokenCache[Identity] = TokenCache(cache_seconds, cache_tokens)
        self._unknown: TokenCache[bool] = TokenCache(min(cache_seconds, _UNKNOWN_SECONDS), _UNKNOWN_TOKENS)
        self._service_roles = service_roles
        self._clock = clock
        self._validations: dict[tuple[str, bool], asyncio.Task[Identity | None]] = {}
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._threads = anyio.CapacityLimiter(CONNECTIONS)

    async def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        """The token's user in the token's project. Raises Unauthorized, Forbidden, IdentityUnavailable."""
        service = headers.get("x-service-token", "")
        if service:
            await self._check_service(service)
        token = headers.get("x-auth-token", "")
        found = await self._valid(token, allow_expired=bool(service))
        if found is None:
            raise errors.Unauthorized(reason="The request needs a valid X-Auth-Token.")
        if found.project_id is None:
            raise errors.Forbidden(reason="The token is not scoped to a project.")
        return Context(found.project_id, found.user_id, found.roles, request_id, token=token)

    async def _check_service(self, token: str) -> None:
        found = await self._valid(token, allow_expired=False)
        if found is None or not found.roles & self._service_roles:
            raise errors.Unauthorized(reason="The X-Service-Token is not valid, or its user has no role of a service.")

    async def _valid(self, token: str, *, allow_expired: bool) -> Identity | None:
        """Whose the token is; None for one that is not valid."""
        if not 0 < len(token) <= _MOST_TOKEN or not token.isascii() or not token.isprintable():
            return None
        found = self._known.get(token) or await self._validated(token, allow_expired=allow_expired)
        return found if found and (allow_expired or found.expires > self._clock()) else None

    async def _validated(self, token: str, *, allow_expired: bool) -> Identity | None:
        key = f"{allow_expired} {token}"
        if self._unknown.get(key):
            return None
        validation = self._validations.get((token, allow_expired))
        if validation is None:
            if len(self._validations) >= _MOST_WAITING:
                _refuse(errors.IdentityUnavailable(reason="too many tokens wait for it"))
            validation = asyncio.create_task(self._validate(token, allow_expired=allow_expired))
            # Read here too, for every client may have hung up.
            validation.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._validations[token, allow_expired] = validation
        # A client that hangs up ends its own wait, and not that of the others with this token.
        try:
            found = await asyncio.shield(validation)
        except errors.IdentityUnavailable as error:
            _refuse(error)
        if found is None:
            self._unknown.put(key, True)
        return found

    async def _validate(self, token: str, *, allow_expired: bool) -> Identity | None:
        try:
            found = await self._request(token, allow_expired=allow_expired)
            if found is not None:
                self._known.put(token, found)
            return found
        finally:
            del self._validations[token, allow_expired]

    async def _request(self, token: str, *, allow_expired: bool) -> Identity | None:
        """Keystone's answer. A thread is waited for as long as one request may take: then Keystone is too slow."""
        try:
            async with asyncio.timeout(self._client.seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise errors.IdentityUnavailable(reason="it is slow, and earlier tokens wait for it") from None
        try:
            return await anyio.to_thread.run_sync(
                lambda: self._client.validate(token, allow_expired=allow_expired), limiter=self._threads
            )
        finally:
            self._turns.release()


def _refuse(error: errors.IdentityUnavailable) -> NoReturn:
    log.warning("keystone", reason=error.reason)
    raise error
