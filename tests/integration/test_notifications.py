"""Notifications through the service: to a file and to a real web server, over kills, outages and refusals."""

import contextlib
import http.client
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import NEWEST, UNKNOWN, ask, good, made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import BACKWARD, FORWARD
from receiving import SECRET, Receiver, receiver
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.volumes.create import CREATE_VOLUME

Make = Callable[..., ServiceProcess]


@pytest.fixture
def receiving() -> Iterator[Receiver]:
    with receiver() as made:
        yield made
        assert not made.faults


def secret(folder: Path) -> Path:
    path = folder / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def service(make_service: Make, receiving: Receiver, tmp_path: Path) -> ServiceProcess:
    """A service whose notifications go to the receiver."""
    return make_service(driver="memory", notifications=receiving.url, notification_secret_file=secret(tmp_path))


def gone(service: ServiceProcess, noun: str, id: str) -> None:
    good(service, "DELETE", f"{noun}s/{id}")
    assert service.wait_status(f"{noun}s", id) == "gone"


def undelivered(service: ServiceProcess) -> int:
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        return int(conn.execute("SELECT count(*) FROM notifications").fetchone()[0])


def drained(service: ServiceProcess) -> None:
    wait_until(lambda: undelivered(service) == 0, 60)


def test_the_life_of_a_volume(service: ServiceProcess, receiving: Receiver) -> None:
    """Each operation has a start and an end, in this order, with Cinder's keys, signed, and without secrets."""
    volume = made(service, "volume", size=1, name="v")
    good(service, "POST", f"volumes/{volume}/action", {"os-extend": {"new_size": 2}})
    service.wait_status("volumes", volume)
    body = {"attachment": {"volume_uuid": volume, "connector": {"host": "me", "mountpoint": "/dev/vdb"}}}
    attachment = good(service, "POST", "attachments", body)["attachment"]["id"]
    good(service, "DELETE", f"attachments/{attachment}")
    service.settle()
    snapshot = made(service, "snapshot", volume_id=volume)
    backup = made(service, "backup", volume_id=volume)
    gone(service, "backup", backup)
    gone(service, "snapshot", snapshot)
    gone(service, "volume", volume)
    drained(service)
    names = ["volume.create", "volume.resize", "volume.attach", "volume.detach", "snapshot.create", "backup.create",
             "backup.delete", "snapshot.delete", "volume.delete"]  # fmt: skip
    assert receiving.events() == [f"{name}.{phase}" for name in names for phase in ("start", "end")]
    by_event = {each["event_type"]: each for each in receiving.messages}
    created, deleted = by_event["volume.create.end"], by_event["volume.delete.end"]
    assert (created["publisher_id"], created["priority"]) == ("volume.me@file", "INFO")
    payload = created["payload"]
    assert {key: payload[key] for key in ("volume_id", "tenant_id", "project_id", "user_id", "size", "status", "host")} == {
        "volume_id": volume, "tenant_id": "p1", "project_id": "p1", "user_id": "t", "size": 1, "status": "available",
        "host": "me@file#file",
    }  # fmt: skip
    assert payload["created_at"] <= payload["launched_at"] and payload["volume_type"]
    assert by_event["volume.create.start"]["payload"]["launched_at"] is None
    assert (deleted["payload"]["status"], deleted["payload"]["size"]) == ("deleted", 2)
    assert deleted["payload"]["launched_at"] == payload["launched_at"]
    attached = by_event["volume.attach.end"]["payload"]
    assert (attached["attachment_id"], attached["mountpoint"], attached["volume_id"]) == (
        attachment,
        "/dev/vdb",
        volume,
    )
    assert by_event["backup.create.end"]["payload"]["backup_id"] == backup
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        assert not list(conn.execute("SELECT message FROM notifications"))
    assert not [key for each in receiving.messages for key in each["payload"] if "connect" in key or "secret" in key]


KILLS = [(moment, step.name, None) for step in CREATE_VOLUME.steps for moment in FORWARD]
KILLS += [(moment, step.name, "fill") for step in CREATE_VOLUME.steps if step.undo for moment in BACKWARD]


@pytest.mark.timeout(600)
def test_a_kill_neither_loses_nor_invents_one(make_service: Make, receiving: Receiver, tmp_path: Path) -> None:
    """Killed at each step boundary of a creation, forwards and back: by id exactly one start, and one end or error."""
    service = make_service(
        driver="memory", driver_options="instant_clone = false", scheduler_max_attempts=1,
        notifications=receiving.url, notification_secret_file=secret(tmp_path),
    )  # fmt: skip
    source = made(service, "volume", size=1)
    for moment, step, fail in KILLS:
        service.crash_at("volume.create", moment, step, fail=fail)
        known = {each["id"] for each in good(service, "GET", "volumes")["volumes"]}
        with contextlib.suppress(http.client.HTTPException, OSError):  # it may die before the reply
            good(service, "POST", "volumes", {"volume": {"size": 1, "source_volid": source}})
        assert service.wait_dead(), (moment, step)
        service.start()
        (volume,) = {each["id"] for each in good(service, "GET", "volumes")["volumes"]} - known
        status = service.wait_status("volumes", volume)
        drained(service)
        last = "error" if fail else "end"
        assert status == ("error" if fail else "available"), (moment, step)
        assert sorted(receiving.ids(volume).values()) == sorted(["volume.create.start", f"volume.create.{last}"])
    errors = [each for each in receiving.messages if each["event_type"] == "volume.create.error"]
    assert {each["priority"] for each in errors} == {"ERROR"}
    assert {each["payload"]["error"]["type"] for each in errors} == {"BackendUnavailable"}


def test_a_receiver_that_is_away_or_slow_holds_up_nothing(service: ServiceProcess, receiving: Receiver) -> None:
    """While it does not answer, or answers 503, volumes are made and deleted; afterwards it gets all, in order, once by id."""
    receiving.answering.clear()
    first = made(service, "volume", size=1)
    receiving.statuses = [503, 500]
    gone(service, "volume", first)
    assert not receiving.messages
    receiving.answering.set()
    drained(service)
    names = list(receiving.ids(first).values())
    assert names == [f"volume.{verb}.{phase}" for verb in ("create", "delete") for phase in ("start", "end")]


def test_what_is_refused_for_good_is_told_as_lost(service: ServiceProcess, receiving: Receiver) -> None:
    """A 400 is not repeated for ever: the next message is delivered, and one tells how many were lost."""
    receiving.statuses = [400]
    volume = made(service, "volume", size=1)
    wait_until(lambda: "notification.lost" in receiving.events(), 60)
    drained(service)
    assert receiving.events(volume) == ["volume.create.end"]
    (lost,) = [each["payload"] for each in receiving.messages if each["event_type"] == "notification.lost"]
    assert (lost["lost"], lost["host"]) == (1, "me")


def test_a_killed_delivery_is_repeated_with_the_same_id(service: ServiceProcess, receiving: Receiver) -> None:
    """Killed after the receiver has it and before that is noted: it comes again, by the id of before."""
    volume = made(service, "volume", size=1)
    drained(service)
    receiving.answering.clear()
    gone(service, "volume", volume)
    before = dict(receiving.ids(volume))
    service.kill()
    service.wait_dead()
    receiving.answering.set()
    service.start()
    drained(service)
    repeated = Counter(each["message_id"] for each in receiving.messages)
    assert set(before) < set(repeated)
    assert Counter(receiving.ids(volume).values()) == Counter(
        ["volume.create.start", "volume.create.end", "volume.delete.start", "volume.delete.end"]
    )


def test_lines_of_a_file(make_service: Make, tmp_path: Path) -> None:
    """Each line is a message; the file is its owner's only, and one that was rotated away is made again."""
    path = tmp_path / "events"
    service = make_service(driver="memory", notifications=path)
    volume = made(service, "volume", size=1)
    drained(service)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["event_type"] for each in lines] == ["volume.create.start", "volume.create.end"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "events.1")
    gone(service, "volume", volume)
    drained(service)
    assert [json.loads(line)["event_type"] for line in path.read_text().splitlines()] == [
        "volume.delete.start", "volume.delete.end"]  # fmt: skip


def test_the_usage_audit(make_service: Make, tmp_path: Path) -> None:
    """volume.exists for each volume when a period is over; the first period is that in which the audit was switched on."""
    path = tmp_path / "events"
    service = make_service(driver="memory", notifications=path, notification_audit_hours=1)
    volumes = {made(service, "volume", size=size) for size in (1, 2)}

    def audited() -> bool:
        with sqlite3.connect(service.state / "nbdsvc.db") as conn:
            return bool(conn.execute("SELECT count(*) FROM notification_audits").fetchone()[0])

    wait_until(audited, 60)
    drained(service)
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:  # as if it was an hour later
        conn.execute("UPDATE notification_audits SET until = datetime(until, '-1 hour') || '.000000'")
        conn.execute("UPDATE volumes SET created_at = datetime(created_at, '-2 hours') || '.000000'")

    def exists() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [each["payload"] for each in lines if each["event_type"] == "volume.exists"]

    wait_until(lambda: len(exists()) == 2, 60)
    assert {each["volume_id"] for each in exists()} == volumes
    assert all(each["audit_period_beginning"] < each["audit_period_ending"] for each in exists())
    assert all(each["status"] == "available" for each in exists())


def test_changes_at_once_are_told(make_service: Make, tmp_path: Path) -> None:
    """A retype in place, and a transfer's creation and withdrawal, which are no operations, have a start and an end."""
    path = tmp_path / "events"
    service = make_service(driver="memory", notifications=path)
    good(service, "POST", "types", {"volume_type": {"name": "other"}})
    volume = made(service, "volume", size=1)
    retype = {"os-retype": {"new_type": "other", "migration_policy": "never"}}
    good(service, "POST", f"volumes/{volume}/action", retype)
    transfer = good(service, "POST", "os-volume-transfer", {"transfer": {"volume_id": volume}})["transfer"]
    good(service, "DELETE", f"os-volume-transfer/{transfer['id']}")
    drained(service)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    names = ["volume.create", "volume.retype", "volume.transfer.create", "volume.transfer.delete"]
    assert [each["event_type"] for each in found] == [f"{name}.{each}" for name in names for each in ("start", "end")]
    assert transfer["auth_key"] not in path.read_text()


ACTIONS = ("create", "create", "bad", "delete", "extend", "snapshot", "attach", "detach", "cascade", "group")


class _Client:
    """Plays actions on a service, whatever their answers are."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        good(service, "POST", "group_types", {"group_type": {"name": "g"}})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self.service, method, path, body, OpenStack_API_Version=NEWEST)[1]

    def all(self, noun: str) -> list[str]:
        return [each["id"] for each in self.ask("GET", f"/v3/{noun}")[noun]]

    def play(self, action: str, number: int) -> None:
        volumes = self.all("volumes")
        volume = volumes[number % len(volumes)] if volumes else UNKNOWN
        if action in ("create", "bad"):
            faults = {"create_volume": [{"error": "BackendUnavailable"}]} if action == "bad" else {}
            Faults(self.service.state / "pool", "file").plan(faults)
            self.ask("POST", "/v3/volumes", {"volume": {"size": 1}})
            if faults:
                self.service.settle()
                Faults(self.service.state / "pool", "file").plan({})
        elif action in ("delete", "cascade"):
            self.ask("DELETE", f"/v3/volumes/{volume}" + ("?cascade=true" if action == "cascade" else ""))
        elif action == "extend":
            self.ask("POST", f"/v3/volumes/{volume}/action", {"os-extend": {"new_size": 2 + number}})
        elif action == "snapshot":
            self.ask("POST", "/v3/snapshots", {"snapshot": {"volume_id": volume}})
        elif action == "attach":
            self.ask("POST", "/v3/attachments", {"attachment": {"volume_uuid": volume, "connector": {"host": "me"}}})
        elif action == "detach":
            for id in self.all("attachments")[:1]:
                self.ask("DELETE", f"/v3/attachments/{id}")
        else:
            body = {"group": {"group_type": "g", "volume_types": ["__DEFAULT__"]}}
            id = self.ask("POST", "/v3/groups", body)["group"]["id"]
            self.service.settle()
            self.ask("PUT", f"/v3/groups/{id}", {"group": {"add_volumes": volume}})
            self.service.settle()
            self.ask("POST", f"/v3/groups/{id}/action", {"delete": {"delete-volumes": True}})


@pytest.mark.timeout(300)
def test_the_stream_is_balanced(make_service: Make, tmp_path: Path) -> None:
    """Whatever is done in whatever order, also what fails: each start has one end or error after it, and no end is without."""
    path = tmp_path / "events"
    service = make_service(driver="memory", notifications=path)
    client = _Client(service)

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5)), min_size=3, max_size=12))
    def play(actions: list[tuple[str, int]]) -> None:
        for action, number in actions:
            client.play(action, number)
        service.settle()
        drained(service)
        open_now: set[tuple[str, str, str]] = set()
        for line in path.read_text().splitlines() if path.exists() else ():
            event, _, phase = json.loads(line)["event_type"].rpartition(".")
            payload, operation = json.loads(line)["payload"], json.loads(line)["operation_id"]
            about = payload.get("attachment_id") or payload.get("snapshot_id") or payload.get("group_id")
            key = (operation, event, about or payload["volume_id"])
            assert (key in open_now) is (phase != "start"), line
            (open_now.add if phase == "start" else open_now.remove)(key)
        assert not open_now

    play()
    events = {json.loads(line)["event_type"] for line in path.read_text().splitlines()}
    assert {"volume.create.end", "volume.create.error"} <= events


def test_off_by_default(make_service: Make) -> None:
    """Without the setting nothing is written."""
    service = make_service(driver="memory")
    gone(service, "volume", made(service, "volume", size=1))
    assert undelivered(service) == 0
