"""`nbdsvc explain` against a real service: nothing is found where nothing differs, whatever is under way; and the verb."""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from asking import ask
from backends import COPYING, INSTANT, TWO_POOLS, Backend
from postgres import Postgres
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.store import tables
from nbdsvc.store.database import Database

LOCAL = {"host": "me", "ip": "127.0.0.1"}
REQUESTS, CLIENTS = 100, 2


def _load(service: ServiceProcess, seed: int) -> None:
    """Creates, clones, snapshots, attaches, extends and deletes, as fast as it is answered; refusals are part of it."""
    dice, client = random.Random(seed), service.client()

    def pick(noun: str) -> str:
        rows = client.get(noun)[noun]
        return str(dice.choice(rows)["id"]) if rows else "none"

    calls: list[Callable[[], Any]] = [
        lambda: client.post("volumes", body={"volume": {"size": 1, "imageRef": "base.raw"}}),
        lambda: client.post("volumes", body={"volume": {"size": 1}}),
        lambda: client.post("volumes", body={"volume": {"source_volid": pick("volumes"), "size": 2}}),
        lambda: client.post("snapshots", body={"snapshot": {"volume_id": pick("volumes"), "force": True}}),
        lambda: client.post("attachments", body={"attachment": {"volume_uuid": pick("volumes"), "connector": LOCAL}}),
        lambda: client.post("attachments", body={"attachment": {"volume_uuid": pick("volumes"), "connector": LOCAL}}),
        lambda: client.act("attachments", pick("attachments"), "os-complete"),
        lambda: client.delete("attachments", pick("attachments")),
        lambda: client.act("volumes", pick("volumes"), "os-extend", {"new_size": dice.randint(2, 5)}),
        lambda: client.delete("volumes", pick("volumes"), cascade=True),
        lambda: client.delete("snapshots", pick("snapshots")),
    ]
    for _ in range(REQUESTS):
        with suppress(errors.Error, OSError):
            dice.choice(calls)()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", [INSTANT, COPYING, TWO_POOLS], ids=["instant", "copying", "two pools"])
def test_a_storm_raises_no_false_alarm(make_service: Callable[..., ServiceProcess], backend: Backend) -> None:
    """On a fresh service, while operations of all kinds are under way, and in the quiet after them, nothing is found."""
    service = make_service(backend=backend, max_operations=10000)
    (service.state / "images" / "base.raw").write_bytes(os.urandom(8 << 20))
    assert service.findings() == []
    clients = [threading.Thread(target=_load, args=(service, seed)) for seed in range(CLIENTS)]
    for thread in clients:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in clients):
        assert service.findings() == []
        looks += 1
    service.settle()
    assert service.findings() == []
    assert looks > 3


@pytest.mark.timeout(300)
def test_kills_raise_no_false_alarm(make_service: Callable[..., ServiceProcess]) -> None:
    """After each SIGKILL in the middle of work, once it is taken up and ended, nothing is found."""
    service = make_service(backend=COPYING, max_operations=10000)
    (service.state / "images" / "base.raw").write_bytes(os.urandom(24 << 20))
    dice = random.Random(5)
    for number in range(6):
        clients = [threading.Thread(target=_load, args=(service, 10 * number + seed)) for seed in range(CLIENTS)]
        for thread in clients:
            thread.start()
        clients[0].join(dice.uniform(0.2, 2))
        service.kill()
        for thread in clients:
            thread.join()
        service.start()
        service.settle()
        assert service.findings() == []


def _verb(service: ServiceProcess, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nbdsvc", "explain", *arguments]
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1"}
    return subprocess.run(command, env=environment, input=answer, capture_output=True, text=True, check=False)


def _volume(service: ServiceProcess, name: str) -> str:
    id = str(service.client().post("volumes", body={"volume": {"size": 1, "name": name}})["volume"]["id"])
    service.settle()
    return id


def test_the_verb_shows_asks_and_mends(make_service: Callable[..., ServiceProcess]) -> None:
    """By name, by id or by backend it says what differs; --fix asks first, mends what is safe, and the next look says so."""
    service = make_service(repair_interval=3600)
    gone, digests = _volume(service, "web"), names.new_id()
    well = _volume(service, "db")
    (service.state / "pool" / "volumes" / f"volume-{gone}").unlink()
    (service.state / "digests").mkdir(exist_ok=True)
    (service.state / "digests" / digests).write_bytes(b"x")
    assert _verb(service, "db").stdout == _verb(service, well).stdout == "nothing differs\n"
    for subject in ("web", gone, "me@file"):
        assert f"error: volume {gone} (web) is not in me@file#file" in _verb(service, subject).stdout
    found = json.loads(_verb(service, "--json").stdout)
    assert {each["key"] for each in found} >= {f"volume.object_gone {gone}", f"digests.left {digests}"}
    refused = _verb(service, "--fix", answer="n\n")
    assert "remove digests of what does not exist" in refused.stderr
    assert (service.state / "digests" / digests).exists()
    done = _verb(service, "--fix", "--yes")
    assert done.returncode == 0
    assert f"mended: digests.left {digests}" in done.stdout
    assert not (service.state / "digests" / digests).exists()
    left = {each["key"] for each in json.loads(_verb(service, "--json").stdout)}
    assert f"volume.object_gone {gone}" in left
    assert f"digests.left {digests}" not in left
    assert json.loads(_verb(service, gone, "--fix", "--yes", "--json").stdout) == []
    assert _verb(service, "none").returncode != 0


def test_a_malformed_request_is_refused(service: ServiceProcess) -> None:
    """No keys, and a key that is no text, are a 400."""
    assert ask(service, "GET", "/v3/explain")[0] == 200
    assert ask(service, "POST", "/v3/explain", {"mend": {"keys": []}})[0] == 400
    assert ask(service, "POST", "/v3/explain", {"mend": {"keys": [5]}})[0] == 400


def test_a_host_that_is_down_is_named_by_the_api(
    make_service: Callable[..., ServiceProcess], postgres: Postgres
) -> None:
    """With the host's process killed, the API names the host and what waits for it, and does not wait itself."""
    url = postgres.database()
    host = make_service("h", start=False, database=url)
    api = make_service("f", start=False, database=url, attach_timeout=3)
    host.role, api.role = "host", "api"
    host.start()
    api.start()
    volume = _volume(api, "v")
    assert api.findings() == []
    (host.state / "pool" / "volumes" / f"volume-{volume}").unlink()
    assert [each["kind"] for each in api.client().get("explain", subject=volume)["findings"]] == ["volume.object_gone"]
    host.kill()
    unanswered = [each for each in api.client().get("explain")["findings"] if each["kind"] == "host.unanswered"]
    assert [each["resource_id"] for each in unanswered] == ["me"]
    api.client().act("volumes", volume, "os-extend", {"new_size": 2})
    database = Database(url)
    long_ago: datetime = clock.now() - timedelta(hours=1)
    with database.write() as conn:
        conn.execute(sa.update(tables.backends).values(updated_at=long_ago))
    database.close()
    found = {each["kind"]: each for each in api.client().get("explain")["findings"] if each["kind"] != "host.lacking"}
    assert found.keys() == {"host.down", "operation.host_down", "claim.stale"}
    assert f"{long_ago:%H:%M} UTC" in found["host.down"]["message"]
    assert "volume.extend" in found["operation.host_down"]["message"]
    host.start()
    api.settle()
    wait_until(lambda: "host.down" not in str(api.client().get("explain")), 60 * PATIENCE)
