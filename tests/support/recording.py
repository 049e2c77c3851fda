"""The requests to a service under test, written down by the service itself: which operation, which status, in which test.

Only where $CALLS names a folder (`make api-table`). A test cannot claim a call that it did not make: the lines are written
where requests arrive, and the name of the test is that of the one that runs then.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from documented import find

Message = MutableMapping[str, Any]
FOLDER, CURRENT = "NBDSVC_TEST_CALLS", "current"
# Bytes of a body that may name an action; longer ones name none.
_MOST = 1 << 16


def folder() -> Path | None:
    """Where to write the calls of this run; None: nowhere."""
    return Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None


def note_test(name: str) -> None:
    """A test begins: calls are its own from now on. Each worker of a parallel run has a folder of its own."""
    if found := folder():
        found.mkdir(parents=True, exist_ok=True)
        new = found / f"{CURRENT}.new"
        new.write_text(name)
        new.replace(found / CURRENT)  # the service reads it at any moment


class Recorder:
    """An ASGI application around the service's own."""

    def __init__(self, app: Any, to: Path) -> None:
        self._app, self._to, self._seen = app, to, set[str]()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, status = bytearray(), [0]

        async def received() -> Message:
            message = await receive()
            body.extend(message.get("body", b"")[:_MOST])
            return message

        async def sent(message: Message) -> None:
            status[0] = message.get("status", status[0])
            await send(message)

        await self._app(scope, received, sent)
        # The middleware has taken the project out of the path.
        self._write(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), bytes(body), status[0])

    def _write(self, method: str, path: str, query: str, body: bytes, status: int) -> None:
        operation = find(method, path, query, _action(body))
        if operation is None:
            return
        test = (self._to / CURRENT).read_text() if (self._to / CURRENT).exists() else ""
        line = json.dumps([str(operation), status, test])
        if line not in self._seen:
            self._seen.add(line)
            with (self._to / f"{os.getpid()}.jsonl").open("a") as file:
                file.write(line + "\n")


def _action(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return next(iter(found), "") if isinstance(found, dict) and len(found) == 1 else ""
