"""Evacuation of a backend: every volume leaves it, or it is said why it stays."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ask
from killing import LOCAL
from moving import BACKENDS, Moving

HOST = "me@solid"


@pytest.fixture
def moving(make_service: Callable[..., Any]) -> Iterator[Moving]:
    yield Moving(make_service(backends=BACKENDS))


def evacuate(moving: Moving, **body: Any) -> dict[str, dict[str, Any]]:
    """What became of each volume, by its id."""
    status, content, _ = ask(moving.service, "PUT", "/v3/os-services/evacuate", {"host": HOST, **body})
    assert status == 200, content
    return {each["id"]: each for each in content["evacuation"]["volumes"]}


def nbdsvc(moving: Moving, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": moving.service.url, "NBDSVC_PROJECT": "p1"}
    argv = [sys.executable, "-m", "nbdsvc", "host", "evacuate", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)


def with_snapshot(moving: Moving) -> tuple[str, str]:
    """A volume of the backend that has a snapshot, and that."""
    id = moving.bound("b")
    body = {"snapshot": {"volume_id": id}}
    snapshot = moving.service.client().post("snapshots", body=body)["snapshot"]["id"]
    moving.service.wait_status("snapshots", snapshot)
    return id, str(snapshot)


def service_row(moving: Moving) -> dict[str, Any]:
    rows = ask(moving.service, "GET", f"/v3/os-services?host={HOST}")[1]["services"]
    return dict(rows[0])


@pytest.mark.row("S033")
def test_every_volume_leaves_or_says_why_not(moving: Moving) -> None:
    """Those that can go, go, whole and within the quota; the others have the obstacle, its words and what to do; the service
    gets nothing new. When the obstacles are gone, the same call takes them too."""
    free = [moving.written("a") for _ in range(2)]
    kept, snapshot = with_snapshot(moving)
    reserved, bound = moving.written("a"), moving.bound("a")
    assert moving.act(reserved, "os-reserve") == (202, "None")
    used = moving.used()
    found = evacuate(moving)
    assert {id: found[id]["state"] for id in free} == dict.fromkeys(free, "moving")
    assert all(found[id]["operation"]["kind"] == "volume.migrate" for id in free)
    obstacles = {id: found[id]["obstacle"] for id in (kept, reserved, bound)}
    assert obstacles == {kept: "snapshots", reserved: "status", bound: "room"}
    assert "1 snapshots" in found[kept]["reason"] and "delete its snapshots" in found[kept]["advice"]
    assert "pool_name" in found[bound]["reason"]
    moving.service.settle()
    assert [moving.place(id) for id in free] == [("c", "available", "success")] * 2
    assert all(moving.is_whole(id) for id in free)
    assert moving.used() == used
    assert (service_row(moving)["status"], service_row(moving)["disabled_reason"]) == ("disabled", "evacuated")
    assert set(evacuate(moving)) == {kept, reserved, bound}
    moving.service.client().delete("snapshots", snapshot)
    moving.service.settle()
    assert moving.act(reserved, "os-unreserve") == (202, "None")
    assert moving.act(kept, "os-retype", new_type="__DEFAULT__") == (202, "None")
    assert moving.act(bound, "os-retype", new_type="__DEFAULT__") == (202, "None")
    assert {each["state"] for each in evacuate(moving).values()} == {"moving"}
    moving.service.settle()
    assert evacuate(moving) == {}


@pytest.mark.row("S033")
def test_a_volume_in_use_goes_to_another_backend_of_its_host(moving: Moving) -> None:
    """Under its client. Where no backend of its host can take it, each says why not, and it is said what to do."""
    id, client = moving.written("a"), moving.service.client()
    fields = {"volume_uuid": id, "connector": LOCAL}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    client.act("attachments", attachment, "os-complete")
    stays = evacuate(moving, host="me")[id]
    assert (stays["state"], stays["obstacle"]) == ("refused", "attached"), stays
    assert "me@swamp#c: BackendStateFilter: the backend is disabled" in stays["reason"]
    assert "let another backend of its host take it" in stays["advice"]
    ask(moving.service, "PUT", "/v3/os-services/enable", {"host": "me@swamp", "binary": "cinder-volume"})
    goes = evacuate(moving)[id]
    assert (goes["state"], goes["operation"]["kind"]) == ("moving", "volume.migrate_in_use"), goes
    moving.service.settle()
    assert (moving.place(id), moving.is_whole(id)) == (("c", "in-use", "success"), True)


def test_what_failed_is_tried_again(moving: Moving) -> None:
    """A migration that failed says why; with retry_failed false it is left, else it is tried again."""
    id = moving.written("a")
    moving.faults.plan({"create_volume": [{"error": "BackendUnavailable", "times": 1}]})
    evacuate(moving)
    moving.service.settle()
    found = evacuate(moving, retry_failed=False)[id]
    assert (found["state"], "simulated fault" in found["reason"]) == ("failed", True)
    assert evacuate(moving)[id]["state"] == "moving"
    moving.service.settle()
    assert moving.place(id)[0] == "c"


def test_a_call_leaves_alone_what_moves(moving: Moving) -> None:
    """While a migration is under way, another call names the same operation, also after a kill -9 of the service."""
    id = moving.written("a")
    moving.slow("create_volume")
    first = evacuate(moving)[id]
    moving.wait_slow()
    assert evacuate(moving)[id]["operation"]["id"] == first["operation"]["id"]
    moving.service.kill()
    moving.service.start()
    again = evacuate(moving)
    assert [each["operation"]["id"] for each in again.values()] in ([], [first["operation"]["id"]])
    moving.service.settle()
    assert (moving.place(id)[0], moving.is_whole(id)) == ("c", True)
    assert moving.service.leftovers() == []


def test_the_verb_waits_and_sums_up(moving: Moving) -> None:
    """`host evacuate --wait` ends with what stays and exit status 4, with 0 when nothing stays; an unknown host is 3."""
    moving.written("a")
    kept, snapshot = with_snapshot(moving)
    shown = nbdsvc(moving, HOST, "--wait")
    assert (shown.returncode, "1 left, 1 refused" in shown.stdout, kept in shown.stdout) == (4, True, True), shown
    assert "delete its snapshots" in shown.stdout
    moving.service.client().delete("snapshots", snapshot)
    moving.service.settle()
    moving.act(kept, "os-retype", new_type="__DEFAULT__")
    shown = nbdsvc(moving, HOST, "--wait", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, []), shown
    assert nbdsvc(moving, "elsewhere").returncode == 3
