"""Evacuation of a whole host: every volume goes to another host, also where that is killed in the middle."""

from collections.abc import Callable
from typing import Any

import pytest
from asking import ask
from between import KINDS, Between
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until


@pytest.fixture
def between(make_service: Callable[..., ServiceProcess], postgres: Postgres) -> Between:
    return Between(make_service, postgres.database())


def evacuate(between: Between) -> dict[str, dict[str, Any]]:
    """What became of each volume of host a, by its id."""
    status, content, _ = ask(between.api, "PUT", "/v3/os-services/evacuate", {"host": "a"})
    assert status == 200, content
    return {each["id"]: each for each in content["evacuation"]["volumes"]}


@pytest.mark.row("S033", "S034", "S085")
def test_a_host_is_emptied_to_another_one_that_is_killed_meanwhile(between: Between) -> None:
    """Rows, bytes, room and quotas are right at the end; a volume with a snapshot stays whole, with it, and follows when that is
    gone; nothing is left on the host, and nothing new is placed there.
    """
    free, kept = [between.written() for _ in range(2)], between.written()
    body = {"snapshot": {"volume_id": kept}}
    snapshot = between.client.post("snapshots", body=body)["snapshot"]["id"]
    assert between.api.wait_status("snapshots", snapshot) == "available"
    used = between.used()
    between.b.crash_at(KINDS[0], "after do", "switch")
    found = evacuate(between)
    assert {id: each["state"] for id, each in found.items()} == {**dict.fromkeys(free, "moving"), kept: "refused"}
    assert (found[kept]["obstacle"], {each["destination"] for each in found.values()}) == (
        "snapshots",
        {between.pool("b"), None},
    )
    assert between.b.wait_dead()
    assert between.used() == used
    between.b.start()
    between.api.settle()
    assert [between.place(id) for id in (*free, kept)] == [
        *[("b", "available", "success")] * 2,
        ("a", "available", None),
    ]
    assert between.api.wait_status("snapshots", snapshot) == "available"
    assert between.promised() == {"a": 1, "b": 2}
    between.client.delete("snapshots", snapshot)
    between.api.settle()
    wait_until(lambda: between.is_up("b"))
    assert evacuate(between)[kept]["state"] == "moving"
    between.api.settle()
    assert evacuate(between) == {}
    assert all(between.is_whole("b", id) for id in (*free, kept))
    assert all(between.objects(id) == {"b": [f"volume-{id}"]} for id in (*free, kept))
    assert (between.used(), between.promised()) == (used, {"b": 3})
    wait_until(lambda: not between.leftovers(), facts=between.leftovers)
