"""Killed while it accepts a transfer, the service ends with one owner of the volume, the one that the driver knows."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from asking import ask
from killing import BACKWARD, FORWARD
from serving import ServiceProcess

KIND, STEP = "volume.accept_transfer", "accept"


def _offered(service: ServiceProcess) -> tuple[str, str, Any]:
    """The ids of a volume and its snapshot, and the transfer with its key."""
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    assert service.wait_status("snapshots", snapshot) == "available"
    return volume, snapshot, client.post("os-volume-transfer", body={"transfer": {"volume_id": volume}})["transfer"]


def _accept(service: ServiceProcess, made: Any) -> int | None:
    """The status; None where the service died before it answered."""
    path, body = f"/v3/os-volume-transfer/{made['id']}/accept", {"accept": {"auth_key": made["auth_key"]}}
    try:
        return ask(service, "POST", path, body, X_Auth_Token="t:p2")[0]
    except OSError:
        return None


def _rows(service: ServiceProcess, volume: str, snapshot: str) -> tuple[Any, ...]:
    with sqlite3.connect(f"file:{service.state}/nbdsvc.db?mode=ro", uri=True) as database:
        found = database.execute(
            "SELECT v.project_id, s.project_id, v.status, v.driver_data, (SELECT count(*) FROM transfers WHERE volume_id = v.id)"
            " FROM volumes v, snapshots s WHERE v.id = ? AND s.id = ?", (volume, snapshot))  # fmt: skip
        return tuple(found.fetchone())


@pytest.mark.row("S021", "S095")
@pytest.mark.timeout(300)
def test_killed_at_every_step_a_volume_has_one_owner(make_service: Callable[..., ServiceProcess]) -> None:
    """Killed before or after the call of the driver: the new one's. Where the call fails, before or after it is taken back:
    the old one's, offered as before, and accepted by the same key.
    """
    service = make_service(driver="memory")
    for moment in (*FORWARD, *BACKWARD):
        volume, snapshot, made = _offered(service)
        service.crash_at(KIND, moment, STEP, STEP if moment in BACKWARD else None)
        assert _accept(service, made) in (None, 503)
        assert service.wait_dead(), moment
        service.start()
        service.settle()
        if moment in BACKWARD:
            owner, of_snapshot, status, data, offers = _rows(service, volume, snapshot)
            assert (owner, of_snapshot, status, offers) == ("p1", "p1", "awaiting-transfer", 1), moment
            assert json.loads(data)["owner"][0] == "p1"
            assert _accept(service, made) == 202
        owner, of_snapshot, status, data, offers = _rows(service, volume, snapshot)
        assert (owner, of_snapshot, status, offers) == ("p2", "p2", "available", 0), moment
        assert json.loads(data)["owner"][0] == "p2"
        assert service.leftovers() == []
