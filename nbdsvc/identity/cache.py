"""Remembers validated tokens: so many, and for so long."""

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class TokenCache(Generic[V]):
    """Values by token, of which only a keyed digest is kept: a dump of the memory has no token of the cache in it.

    seconds: how long a value is remembered; entries: how many, then the one that was used least recently is forgotten.
    """

    def __init__(self, seconds: float, entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._key = os.urandom(32)
        self._found: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    def get(self, token: str) -> V | None:
        """The value, unless it is forgotten."""
        digest = self._digest(token)
        if (entry := self._found.get(digest)) is None:
            return None
        if self._clock() - entry[0] >= self._seconds:
            del self._found[digest]
            return None
        self._found.move_to_end(digest)
        return entry[1]

    def put(self, token: str, value: V) -> None:
        """Remember the value from now on."""
        digest = self._digest(token)
        self._found[digest] = self._clock(), value
        self._found.move_to_end(digest)
        while len(self._found) > self._entries:
            self._found.popitem(last=False)

    def __len__(self) -> int:
        return len(self._found)

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode(), hashlib.sha256)
