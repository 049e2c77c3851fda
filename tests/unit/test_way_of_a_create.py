"""How many modules a create goes through, from its route to lvcreate: what a reader has to open."""

import asyncio
import json
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from waiting import wait_until

from drivers.lvm import ThinDriver
from nbdsvc.api import server
from nbdsvc.api.auth import NoAuth
from nbdsvc.config import Settings
from nbdsvc.policy.policy import Policy
from nbdsvc.process import Completed, Runner
from nbdsvc.service import Service
from nbdsvc.units import GiB, MiB

ROOT = Path(__file__).resolve().parents[2]
# The database's own modules are beside the way: the row that waits there is what joins its two halves.
BESIDE = ("nbdsvc/store/",)
RUNNER = "nbdsvc/process.py"
GROUP = 100 * GiB
MOST = 8


def _modules() -> list[str]:
    """The files of ours on the stack of this thread, outermost first, each once."""
    paths = [Path(frame.filename) for frame in traceback.extract_stack()]
    ours = [str(path.relative_to(ROOT)) for path in paths if path.is_relative_to(ROOT)]
    return [name for name in dict.fromkeys(ours) if name.startswith(("nbdsvc/", "drivers/"))]


class _OneGroup(Runner):
    """Answers as LVM does for a group `g` with a thin pool, and notes by which way lvcreate is reached."""

    def __init__(self) -> None:
        super().__init__()
        self.way: list[str] = []
        self._volumes = [_logical_volume("g-pool", "twi-aotz--")]

    def run(self, argv: Sequence[str], **_options: Any) -> Completed:
        report: dict[str, Any] = {}
        if argv[0] == "vgs":
            row = {
                "vg_name": "g",
                "vg_size": GROUP,
                "vg_free": GROUP,
                "vg_extent_size": MiB,
                "vg_missing_pv_count": 0,
                "vg_uuid": "u",
            }
            report = {"vg": [row]}
        elif argv[0] == "lvs":
            report = {"lv": self._volumes}
        elif argv[0] == "lvcreate":
            self.way = [*_modules(), RUNNER]
            given = dict(pairwise(argv))
            self._volumes.append(_logical_volume(given["--name"], "Vwi-a-tz--", given["--addtag"]))
        return Completed(json.dumps({"report": [report]}), "", 0)


def _logical_volume(name: str, attributes: str, tag: str = "") -> dict[str, Any]:
    pool = "" if attributes.startswith("t") else "g-pool"
    row = {"lv_name": name, "lv_size": GROUP, "pool_lv": pool, "lv_tags": tag, "lv_attr": attributes}
    empty = ("origin", "origin_size", "data_percent", "metadata_percent", "lv_metadata_size")
    return {**dict.fromkeys(empty, ""), **row, "lv_when_full": "error", "zero": "zero"}


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
    """From the route to lvcreate a create goes through at most MOST modules, the middleware and the database apart."""
    settings = Settings(state_dir=state, driver="memory", backend="b", database_reserve=0)
    service, group = Service(settings), _OneGroup()
    assert service.host
    registry: Any = service.host.backends
    registry["b"] = replace(registry["b"], driver=ThinDriver("b", volume_group="g", runner=group))
    service.start()
    application = server.create(service.app, NoAuth(), Policy())
    with _submissions(service.database._write) as ways:
        assert asyncio.run(_post(application, "/v3/p/volumes", {"volume": {"size": 1}})) == 202
        wait_until(lambda: group.way)
    service.stop()
    way = list(dict.fromkeys([*ways[0], *group.way]))
    print(f"{len(way)} modules from the route to lvcreate: {', '.join(way)}")
    assert way[0] == "nbdsvc/api/volumes.py"
    assert len(way) <= MOST
