"""The API and the host as two processes that meet in PostgreSQL only."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors


@pytest.fixture
def pair(
    make_service: Callable[..., ServiceProcess], postgres: Postgres
) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """(api, host): one database, no folder in common."""
    database = postgres.database()
    host = make_service("h", start=False, database=database, attach_timeout=3)
    host.role = "host"
    api = make_service("f", start=False, database=database, attach_timeout=3)
    api.role = "api"
    yield api.start(), host.start()


def _file(host: ServiceProcess, volume: str) -> Path:
    return host.state / "pool" / "volumes" / f"volume-{volume}"


@pytest.mark.row("S003")
def test_they_meet_in_the_database(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """What one submits the other runs at once; attach waits for it; images and exports are the host's own."""
    api, host = pair
    content = os.urandom(8 << 20)
    (host.state / "images" / "base.raw").write_bytes(content)
    client = api.client()
    volume = client.post("volumes", body={"volume": {"size": 1, "imageRef": "base.raw"}})["volume"]["id"]
    assert api.wait_status("volumes", volume) == "available"
    assert _file(host, volume).read_bytes()[: len(content)] == content
    fields = {"volume_uuid": volume, "connector": {"host": "me", "ip": "127.0.0.1"}}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]
    assert str(host.state) in attachment["connection_info"]["unix_socket"]
    assert not any(path.name in ("pool", "exports") for path in api.state.iterdir())
    client.delete("attachments", attachment["id"])
    wrong = client.post("volumes", body={"volume": {"size": 1, "imageRef": "unknown.raw"}})["volume"]["id"]
    assert api.wait_status("volumes", wrong) == "error"
    assert "unknown.raw" in client.get("operations", limit=1)["operations"][0]["error"]["message"]
    wait_until(lambda: not list((host.state / "exports").iterdir()))


def test_either_may_die(pair: tuple[ServiceProcess, ServiceProcess]) -> None:
    """Without the host a request is accepted and waits; without the API the host goes on; both find it done."""
    api, host = pair
    client = api.client()
    host.kill()
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]
    fields = {"volume_uuid": made["id"], "connector": {"host": "me"}}
    with pytest.raises(errors.Error, match="creating"):
        client.post("attachments", body={"attachment": fields})
    assert client.get("volumes", made["id"])["volume"]["status"] == "creating"
    api.kill()
    host.start()
    api.start()
    assert api.wait_status("volumes", made["id"]) == "available"
    host.kill()
    with pytest.raises(errors.Error, match="not finished within 3"):
        api.client().post("attachments", body={"attachment": fields})
    host.start()
    api.settle()
    assert api.client().get("volumes", made["id"])["volume"]["status"] in ("attaching", "reserved", "in-use")
