"""How many modules a create goes through, from its route to the driver: what a reader has to open."""

import asyncio
import json
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from waiting import wait_until

from drivers.memory import MemoryDriver
from nbdsvc.api import server
from nbdsvc.api.auth import NoAuth
from nbdsvc.config import Settings
from nbdsvc.driver import VolumeRef
from nbdsvc.service import Service

ROOT = Path(__file__).resolve().parents[2]
# The database's own modules are beside the way: the row that waits there is what joins its two halves.
BESIDE = ("nbdsvc/store/",)


def _modules() -> list[str]:
    """The files of ours on the stack of this thread, outermost first, each once."""
    paths = [Path(frame.filename) for frame in traceback.extract_stack()]
    ours = [str(path.relative_to(ROOT)) for path in paths if path.is_relative_to(ROOT)]
    return [name for name in dict.fromkeys(ours) if name.startswith(("nbdsvc/", "drivers/"))]


class _WatchedDriver(MemoryDriver):
    """The simulator, which notes by which way its create is reached."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.way: list[str] = []

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        self.way = [name for name in _modules() if not name.startswith("drivers/")]
        super().create_volume(volume, owner)


@contextmanager
def _submissions(engine: sa.Engine) -> Iterator[list[list[str]]]:
    """The ways by which operations are written, as they are written."""
    ways: list[list[str]] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO operations "):
            ways.append([name for name in _modules() if not name.startswith(BESIDE)])

    sa.event.listen(engine, "before_cursor_execute", note)
    yield ways
    sa.event.remove(engine, "before_cursor_execute", note)


async def _post(app: Any, path: str, body: Any) -> int:
    """The status of a request to the application, without a socket."""
    content, answers = json.dumps(body).encode(), []
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": headers, "scheme": "http", "server": ("h", 80), "root_path": "", "http_version": "1.1"}  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)
    return int(answers[0]["status"])


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder with a short name, because socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield Path(folder)


def test_the_way_of_a_create_is_short(state: Path) -> None:
    """From the route to the driver a create goes through at most six modules, the middleware and the database apart."""
    settings = Settings(state_dir=state, driver="memory", backend="b", database_reserve=0)
    service = Service(settings)
    assert service.host
    driver = _WatchedDriver("b", settings.pool_path)
    registry: Any = service.host.backends
    registry["b"] = replace(registry["b"], driver=driver)
    service.start()
    application = server.create(service.app, NoAuth())
    with _submissions(service.database._write) as ways:
        assert asyncio.run(_post(application, "/v3/p/volumes", {"volume": {"size": 1}})) == 202
        wait_until(lambda: driver.way)
    service.stop()
    way = list(dict.fromkeys([*ways[0], *driver.way]))
    print(f"{len(way)} modules from the route to the driver: {', '.join(way)}")
    assert way[0] == "nbdsvc/api/volumes.py"
    assert len(way) <= 6
