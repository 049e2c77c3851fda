"""uvicorn's HTTP protocol with deadlines for headers and bodies and a bound on connections, which uvicorn lacks.

It closes only connections that wait between two requests. A server with such limits in front, hypercorn or granian, would
be one more part to keep; what is needed is a clock for each connection.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which a client has to send a whole request (a few KiB at most) or read a part of a reply.
WAIT_SECONDS = 10.0
CHECK_SECONDS = 1.0
# Connections at once, far below the descriptors of a process. One more ends the one that has been waited for longest.
MAX_CONNECTIONS = 768
_TO_READ = "to read"


class BoundedProtocol(H11Protocol):
    """Ends a connection for which the server has waited WAIT_SECONDS."""

    _since = 0.0
    _seen: tuple[str, int] = ("", 0)
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Above the bound, end the connection that has waited longest, so that idle clients cannot lock out others."""
        super().connection_made(transport)
        self._since, self._seen = self.loop.time(), self._stage()
        if len(self.connections) > MAX_CONNECTIONS:
            self._end_slowest()
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        stage, now = self._stage(), self.loop.time()
        if _is_progress(self._seen, stage):
            self._since = now
        elif stage[0] and now - self._since > WAIT_SECONDS:
            self.transport.abort()
            return
        self._seen = stage
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)

    def _stage(self) -> tuple[str, int]:
        """The stage of a request that waits for its client, for the log; empty while the server works."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            return _TO_READ, unread
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            return str(self.conn.their_state), id(self.cycle)
        return "", 0

    def _end_slowest(self) -> None:
        others: list[Any] = [it for it in self.connections if isinstance(it, BoundedProtocol) and it._stage()[0]]
        slowest = min(others, key=lambda it: it._since, default=self)
        slowest.connections.discard(slowest)
        slowest.transport.abort()


def _is_progress(before: tuple[str, int], now: tuple[str, int]) -> bool:
    """Whether the client did something: the server adds to the unread bytes, the client takes from them."""
    if before[0] == now[0] == _TO_READ:
        return now[1] < before[1]
    return before != now
