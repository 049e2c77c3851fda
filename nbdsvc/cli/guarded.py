"""uvicorn's HTTP protocol with deadlines and a bound on connections, which uvicorn itself has for neither headers nor bodies.

It closes only connections that wait between two requests. A server with such limits in front, hypercorn or granian, would
be one more part to keep; what is needed is a clock for each connection.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A client that lives sends a request, or takes some of a reply, within this; no request is larger than a few KiB.
WAIT_SECONDS = 10.0
LOOK_SECONDS = 1.0
# Connections at once, far below the descriptors of a process. One more ends the one that has been waited for longest.
MAX_CONNECTIONS = 768
_TO_READ = "to read"


class GuardedProtocol(H11Protocol):
    """Ends a connection for which the server has waited WAIT_SECONDS."""

    _since = 0.0
    _seen: tuple[str, int] = ("", 0)
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Make room for it at the cost of who is slowest, so that a flood of idle clients keeps nobody out."""
        super().connection_made(transport)
        self._since, self._seen = self.loop.time(), self._stage()
        if len(self.connections) > MAX_CONNECTIONS:
            self._end_slowest()
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take back the clock."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        stage, now = self._stage(), self.loop.time()
        if _is_progress(self._seen, stage):
            self._since = now
        elif stage[0] and now - self._since > WAIT_SECONDS:
            self.transport.abort()
            return
        self._seen = stage
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def _stage(self) -> tuple[str, int]:
        """What the client is waited for, and of which request or how much; empty while the server works."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            return _TO_READ, unread
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            return str(self.conn.their_state), id(self.cycle)
        return "", 0

    def _end_slowest(self) -> None:
        others: list[Any] = [it for it in self.connections if isinstance(it, GuardedProtocol) and it._stage()[0]]
        slowest = min(others, key=lambda it: it._since, default=self)
        slowest.connections.discard(slowest)
        slowest.transport.abort()


def _is_progress(before: tuple[str, int], now: tuple[str, int]) -> bool:
    """Whether the client did something meanwhile: what it has not read grows by our doing, and shrinks by its own."""
    if before[0] == now[0] == _TO_READ:
        return now[1] < before[1]
    return before != now
