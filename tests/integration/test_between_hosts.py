"""Volumes that are not in use move between two hosts, over NBD with TLS: where to, what is refused, and what is left."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from between import KINDS, Between
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

# The verb of the simulator, and the host whose driver it is called of.
VERBS = [
    ("create_volume", "b"),
    ("before_volume_copy", "b"),
    ("before_volume_copy", "a"),
    ("after_volume_copy", "a"),
    ("after_volume_copy", "b"),
    ("update_migrated_volume", "b"),
    ("delete_volume", "a"),
]
LATE = ("update_migrated_volume", "delete_volume")


@pytest.fixture(scope="module")
def made(module_service: Callable[..., ServiceProcess], postgres: Postgres) -> Between:
    return Between(module_service, postgres.database())


@pytest.fixture
def between(made: Between) -> Iterator[Between]:
    """The hosts of this module, of which a test leaves nothing to the next one."""
    yield made
    made.clear()


def _slow(between: Between, verb: str, host: str, **fault: object) -> Path:
    """Let a verb of that host's driver take a second, once, or fail. The file that is there once it is under way."""
    between.faults(host).plan({verb: [{"delay": 1.0, "times": 1, **fault}]})
    return between.hosts[host].state / "pool" / "faults.count.json"


@pytest.mark.row("S033", "S034", "S075", "S084", "S085")
def test_a_volume_goes_to_another_host_and_back(between: Between) -> None:
    """Its bytes, its place, quotas and room follow it, holes stay holes, and nothing of it stays behind."""
    id = between.written()
    between.migrate(id)
    ended = between.ended()
    assert ended["state"] == "succeeded", ended["error"]
    assert (ended["host"], ended["step_host"]) == ("b@sim", "b@sim")
    between.assert_settled(id, "b", "success")
    assert between.path("b", id).stat().st_blocks * 512 < 16 << 20
    between.migrate(id, "a", lock_volume=True)
    assert between.row(id)["status"] == "maintenance"
    assert between.ended()["state"] == "succeeded"
    between.assert_settled(id, "a", "success")
    between.remove(id)


@pytest.mark.row("S034")
def test_the_scheduler_chooses_the_host(between: Between) -> None:
    """Without a name, and for a type that only another host's pool meets; no more than one copy is made."""
    id = between.written()
    assert between.act(id, "os-migrate_volume")[0] == 202
    assert between.ended()["state"] == "succeeded"
    between.assert_settled(id, "b", "success")
    status, content = between.act(id, "os-retype", new_type="a")
    assert (status, "migration policy is never" in content) == (400, True)
    assert between.act(id, "os-retype", new_type="a", migration_policy="on-demand")[0] == 202
    assert between.ended(KINDS[1])["state"] == "succeeded"
    between.assert_settled(id, "a", "success")
    assert between.row(id)["volume_type"] == "a"
    between.remove(id)


def fill(between: Between) -> list[str]:
    """The volumes that leave no room for a GiB on host b, beside what others have there."""
    made = []
    for size in (32, 16, 8, 4, 2, 1):
        while True:
            body = {"volume": {"size": size, "volume_type": "b"}}
            status, content, _ = ask(between.api, "POST", "/v3/volumes", body)
            if status != 202:
                break
            made.append(content["volume"]["id"])
    for id in made:
        assert between.api.wait_status("volumes", id) == "available"
    return made


def test_what_is_refused(between: Between) -> None:
    """What the destination lacks is in the answer, before anything begins."""
    id = between.written()

    def refused(host: str | None = None) -> str:
        status, content = between.act(id, "os-migrate_volume", host=host or between.pool("b"))
        assert status == 400, (status, content)
        return content

    host = {"host": "b@sim"}
    assert "no pool has this name" in refused("c@sim#pool-c")
    assert "in this pool already" in refused(between.pool("a"))
    service = {**host, "binary": "cinder-volume"}
    for turn_off, turn_on, body in (("disable", "enable", service), ("freeze", "thaw", host)):
        assert ask(between.api, "PUT", f"/v3/os-services/{turn_off}", body)[0] < 300
        assert "disabled" in refused()
        assert ask(between.api, "PUT", f"/v3/os-services/{turn_on}", body)[0] < 300
    between.faults("b").plan({"check_for_setup_error": [{"error": "BackendUnavailable"}]})
    wait_until(lambda: not between.is_up("b"))
    assert "down" in refused()
    between.faults("b").plan({})
    wait_until(lambda: between.is_up("b"))
    filled = fill(between)
    assert "Capacity" in refused()
    for other in filled:
        between.client.delete("volumes", other)
        assert between.api.wait_status("volumes", other) == "gone"
    assert between.place(id) == ("a", "available", None)
    between.remove(id)


@pytest.mark.row("S033", "S075")
@pytest.mark.parametrize(("verb", "host"), VERBS)
def test_cancelled_at_each_step(between: Between, verb: str, host: str) -> None:
    """Until the switch a cancel takes everything back on both hosts; from it on it comes too late."""
    id = between.written()
    begun = _slow(between, verb, host)
    between.migrate(id, lock_volume=True)
    wait_until(begun.exists)
    between.client.act("operations", between.operation()["id"], "cancel")
    assert between.ended()["state"] == ("succeeded" if verb in LATE else "cancelled")
    place = ("b", "success") if verb in LATE else ("a", "error")
    between.assert_settled(id, *place, verb)
    between.remove(id)


@pytest.mark.row("S033", "S075", "S084")
@pytest.mark.parametrize(("verb", "host"), VERBS[::3])
def test_a_fault_at_each_step(between: Between, verb: str, host: str) -> None:
    """Until the switch a fault of either driver leaves the volume as it was; one after it fails the operation alone."""
    id = between.written()
    _slow(between, verb, host, delay=0, error="BackendUnavailable")
    between.migrate(id)
    ended = between.ended()
    assert (ended["state"], "simulated fault" in ended["error"]["message"]) == ("failed", True)
    place = ("b", "success") if verb in LATE else ("a", "error")
    between.assert_settled(id, *place, verb)
    between.remove(id)


def test_a_copy_is_limited_shown_and_cancelled(between: Between) -> None:
    """Its progress is in the API while it goes on, its rate is the operation's, and a cancel ends it at once."""
    id = between.written()
    between.copy_slowly(id)
    shown = between.operation()
    assert (shown["step_host"], shown["progress"]["total"]) == ("a@sim", 1 << 30)
    assert str(shown).count("psk") == 0
    begun = time.monotonic()
    between.client.act("operations", shown["id"], "cancel")
    assert between.ended()["state"] == "cancelled"
    assert time.monotonic() - begun < 10
    between.assert_settled(id, "a", "error")
    between.remove(id)


@pytest.mark.row("S021")
def test_a_destination_that_is_gone_for_good(between: Between) -> None:
    """A cancel during the copy takes the move back without it; what it has is removed when it is there again after all."""
    id = between.written()
    between.copy_slowly(id)
    between.b.kill()
    between.b.end_exports()
    between.client.act("operations", between.operation()["id"], "cancel")
    ended = between.ended()
    assert (ended["state"], "its host is gone" in ended["error"]["message"]) == ("rollback_failed", True)
    assert between.place(id) == ("a", "available", "error")
    assert between.is_whole("a", id)
    assert between.promised() == {"a": 1, "b": 1}
    between.b.start()
    between.assert_settled(id, "a", "error")
    between.remove(id)


@pytest.mark.row("S021")
def test_a_source_that_is_gone_after_the_switch(between: Between) -> None:
    """The volume can be used at its destination, and its former object is removed when that host is back."""
    id = between.written()
    _slow(between, "update_migrated_volume", "b", delay=2.0)
    between.migrate(id, lock_volume=True)
    wait_until(lambda: between.place(id)[0] == "b")
    between.a.kill()
    ended = between.ended()
    assert (ended["state"], "its host is gone" in ended["error"]["message"]) == ("failed", True)
    assert between.place(id) == ("b", "available", "completing")
    assert between.act(id, "os-extend", new_size=2)[0] == 202
    assert between.api.wait_status("volumes", id) == "available"
    between.a.start()
    wait_until(lambda: between.place(id) == ("b", "available", "success"))
    wait_until(lambda: not between.leftovers(), facts=between.leftovers)
    between.remove(id)


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
    assert between.used() == (3, 4)
    between.b.crash_at(KINDS[0], "after do", "switch")
    found = evacuate(between)
    assert {id: each["state"] for id, each in found.items()} == {**dict.fromkeys(free, "moving"), kept: "refused"}
    assert (found[kept]["obstacle"], {each["destination"] for each in found.values()}) == (
        "snapshots",
        {between.pool("b"), None},
    )
    assert between.b.wait_dead()
    assert between.used() == (3, 4)
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
    assert (between.used(), between.promised()) == ((3, 3), {"b": 3})
    wait_until(lambda: not between.leftovers(), facts=between.leftovers)
    assert ask(between.api, "PUT", "/v3/os-services/enable", {"host": "a"})[0] == 200
