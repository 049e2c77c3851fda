"""uvicorn's server with a pause of a second between its ticks, which end at once when it is to end.

uvicorn looks ten times a second whether it is to end, which was half of the processor time of an idle service.
"""

import asyncio
import contextlib
from typing import Any

import uvicorn

# Seconds. A tick also renews the Date header, which has a resolution of one second.
_TICK_SECONDS = 1.0
# uvicorn counts its ticks, and does its work in every tenth.
_EACH_WORKS = 0


class Server(uvicorn.Server):
    """Handles no signal by itself: uvicorn raises each again at its end, which would end the process before its operations
    have stopped. Call `end`.
    """

    def __init__(self, made: uvicorn.Config) -> None:
        super().__init__(made)
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    capture_signals = staticmethod(contextlib.nullcontext)  # type: ignore[assignment]

    def end(self, *_: Any) -> None:
        """Let `run` return; a handler of signals. May be called before `run`, again, and when it has returned."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the service ends its operations
                self._loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        """uvicorn's, with the other pause."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(_EACH_WORKS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._ending.wait()
