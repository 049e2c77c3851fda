"""User names, passwords and signatures of imageRef URLs: apart while the operation lives, and nowhere after its end."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.store import migrate, secrets, tables
from nbdsvc.store.database import Database

SERVER = Path(__file__).resolve().parents[1] / "support" / "image_server.py"
WORDS = ("Geheimwort77", "Unterschrift88")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """HOST:PORT of a server that gives everybody an image."""
    (tmp_path / "base.raw").write_bytes(b"\7" * (1 << 20))
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(tmp_path / "base.raw")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    yield server.stdout.readline().split("/")[2]
    server.kill()
    server.wait()


def _url(host: str) -> str:
    return f"http://user:{WORDS[0]}@{host}/base.raw?signature={WORDS[1]}"


def _holding(folder: Path) -> list[str]:
    """Files below the folder that have one of the words in them, as raw bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in WORDS)]


def _gone_from(folder: Path) -> bool:
    return wait_until(lambda: not _holding(folder))


def test_nothing_of_them_stays(make_service: Callable[..., ServiceProcess], web: str) -> None:
    """Neither success, nor failure, nor a kill leaves them in files, rows, replies or the log."""
    service = make_service(image_http_networks="127.0.0.0/8")
    client = service.client()
    made = client.post("volumes", body={"volume": {"size": 1, "imageRef": _url(web)}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    failed = client.post("volumes", body={"volume": {"size": 1, "imageRef": _url("127.0.0.1:9")}})["volume"]["id"]
    assert service.wait_status("volumes", failed) == "error"
    service.crash_at("volume.create", "before do", "fill")
    killed = client.post("volumes", body={"volume": {"size": 1, "imageRef": _url(web)}})["volume"]["id"]
    assert service.wait_dead()
    assert _holding(service.state) != []
    client = service.start().client()
    assert service.wait_status("volumes", killed) == "available"
    replies = [client.get(noun, "detail", all_tenants=1) for noun in ("volumes", "attachments")]
    said = json.dumps([*replies, client.get("operations"), client.get("messages")]) + service.log.read_text()
    assert not any(word in said for word in WORDS)
    assert _gone_from(service.state)
    assert "base.raw" in client.get("volumes", made)["volume"]["volume_image_metadata"]["image_name"]


def test_rows_of_an_older_version_are_cleaned(database_url: str) -> None:
    """A migration takes them out of rows that have them; an operation that goes on keeps its own, apart."""
    database = Database(database_url)
    migrate.upgrade(database, "0002")
    stamp, url = sa.func.now(), _url("host")
    common = {"kind": "volume.create", "host": "h", "project_id": "p", "resource_type": "volume", "resource_id": "v",
              "request_id": "", "user_id": "", "locks": [], "cursor": 0, "attempts": 0, "results": {},
              "cancel_requested": False, "rate": 0, "progress_done": 0, "progress_total": 0, "progress_text": "",
              "progress_data": 0, "progress_rate": 0, "created_at": stamp}  # fmt: skip
    with database.write() as conn:
        for id, state in (("a", "failed"), ("b", "running")):
            error = {"kind": "NotFound", "message": f"no {url}", "facts": {"reason": url}}
            conn.execute(
                tables.operations.insert().values(id=id, state=state, args={"image": url}, error=error, **common)
            )
    migrate.upgrade(database)
    with database.read() as conn:
        rows = conn.execute(sa.select(tables.operations.c.args, tables.operations.c.error)).all()
        assert not any(word in json.dumps([list(row) for row in rows]) for word in WORDS)
        assert rows[0][0] == {"image": "http://host/base.raw"}
        assert (secrets.of(conn, "a"), secrets.of(conn, "b")) == (None, url)
    database.close()


def test_messages_are_cleaned() -> None:
    """What a library puts of a secret reference into a message is taken out of the error's facts."""
    found = secrets.without({"message": f"GET {_url('h')}: {WORDS[1]} is wrong"}, _url("h"))
    assert not any(word in json.dumps(found) for word in WORDS)
