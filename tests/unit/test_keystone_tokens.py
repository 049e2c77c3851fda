"""How many tokens wait for Keystone, and that requests with one token wait together."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from nbdsvc import errors
from nbdsvc.identity.client import Identity
from nbdsvc.identity.tokens import _MOST_WAITING, KeystoneTokens

SECONDS = 60


class Slow:
    """A Keystone that answers when it is let go: it knows the tokens that begin with `good`."""

    seconds = float(SECONDS)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.requests: Counter[str] = Counter()

    def validate(self, token: str, *, allow_expired: bool) -> Identity | None:
        self.requests[token] += 1
        assert self.go.wait(SECONDS)
        if not token.startswith("good"):
            return None
        return Identity("user", "project", frozenset({"member"}), time.time() + SECONDS)


def _authenticator(client: Any) -> KeystoneTokens:
    more: dict[str, Any] = {"cache_seconds": 60, "cache_tokens": 8, "service_roles": frozenset({"service"})}
    return KeystoneTokens(client, public_url="http://keystone", **more)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def _identify(found: KeystoneTokens, token: str) -> "asyncio.Task[Any]":
    return asyncio.create_task(found.identify({"x-auth-token": token}, None, "req-1"))


def test_requests_with_one_token_wait_together() -> None:
    """Keystone is requested once; a client that hangs up ends no other one's wait; then the token is remembered."""

    async def run() -> None:
        client = Slow()
        found = _authenticator(client)
        tasks = [_identify(found, "good") for _ in range(20)]
        await _until(lambda: client.requests)
        tasks[0].cancel()
        await _until(tasks[0].done)
        client.go.set()
        contexts = await asyncio.gather(*tasks[1:])
        assert {each.project_id for each in contexts} == {"project"}
        assert (await _identify(found, "good")).user_id == "user"
        assert client.requests == {"good": 1}

    asyncio.run(run())


def test_so_many_tokens_wait_and_no_more() -> None:
    """One more than the bound is refused at once; when Keystone answers, every other one has its answer."""

    async def run() -> None:
        client = Slow()
        found = _authenticator(client)
        tasks = [_identify(found, f"good{number}") for number in range(_MOST_WAITING)]
        await _until(lambda: len(client.requests) == 8)
        with pytest.raises(errors.IdentityUnavailable, match="too many tokens"):
            await _identify(found, "good-too")
        client.go.set()
        assert len(await asyncio.gather(*tasks)) == _MOST_WAITING
        assert (await _identify(found, "good-too")).user_id == "user"

    asyncio.run(run())


def test_an_unknown_token_is_remembered_apart() -> None:
    """Who repeats it does not keep Keystone busy, and unknown ones drive no known one out."""

    async def run() -> None:
        client = Slow()
        client.go.set()
        found = _authenticator(client)
        await _identify(found, "good")
        for number in [*range(50), 0]:
            with pytest.raises(errors.Unauthorized):
                await _identify(found, f"bad{number}")
        await _identify(found, "good")
        assert client.requests["good"] == 1
        assert client.requests["bad0"] == 1

    asyncio.run(run())
