"""User messages: every failed operation has Cinder's number of its action and of why it failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc import errors
from nbdsvc.messages import events
from nbdsvc.model.operation import Operation
from nbdsvc.operation_types import TYPES_BY_NAME

NEWEST = "volume 3.71"
KINDS = sorted(each.name for each in TYPES_BY_NAME.values())


def test_every_kind_of_operation_has_a_number_or_is_named_as_without() -> None:
    """A new kind of operation must be decided here, too."""
    assert set(events.ACTIONS) | events.UNNUMBERED == set(KINDS)
    assert not set(events.ACTIONS) & events.UNNUMBERED


def failed(kind: str, error: str | None) -> Operation:
    facts = {"kind": error, "facts": {}} if error else None
    noun = kind.partition(".")[0]
    return Operation(
        UNKNOWN,
        kind,
        "me",
        "p1",
        noun if noun != "attachment" else "volume",
        UNKNOWN,
        {},
        [],
        error=facts,
        state="failed",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_has_an_event(kind: str) -> None:
    """Whatever kind of operation ends with whatever error, the event has the form of Cinder's."""
    names = [name for name in vars(errors) if isinstance(getattr(errors, name), type)]
    assert len(names) > 20
    for error in (*names, None):
        resource, action, detail = events.event_id(failed(kind, error)).rsplit("_", 2)
        assert resource.startswith("VOLUME_")
        assert (len(action), len(detail), (action + detail).isdigit()) == (3, 3, True)


def ask_for(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, content
    return content


def test_failures_of_each_resource(
    make_service: Callable[..., ServiceProcess], database_url: str, tmp_path: Path
) -> None:
    """Volume, snapshot, backup and group: each failure is a message of its resource, found by its event and by no other,
    on both databases; and each is a notification of an error."""
    events_file = tmp_path / "events"
    service = make_service(driver="memory", scheduler_max_attempts=1, database=database_url, notifications=events_file)
    faults = Faults(service.state / "pool", "file")

    def make(noun: str, status: str = "available", **wanted: Any) -> str:
        id = str(ask_for(service, "POST", f"/v3/{noun}s", {noun: wanted})[noun]["id"])
        assert service.wait_status(f"{noun}s", id) == status
        return id

    volume = make("volume", size=1)
    faults.plan({"create_volume": [{"error": "OutOfSpace"}], "create_snapshot": [{"error": "BackendUnavailable"}],
                 "extend_volume": [{"error": "DeviceBusy"}]})  # fmt: skip
    bad = make("volume", "error", size=1)
    snapshot = make("snapshot", "error", volume_id=volume)
    ask_for(service, "POST", f"/v3/volumes/{volume}/action", {"os-extend": {"new_size": 2}})
    service.settle()
    faults.plan({"delete_snapshot": [{"error": "DeviceBusy"}]})
    group_type = ask_for(service, "POST", "/v3/group_types", {"group_type": {"name": "g"}})["group_type"]["id"]
    types = [each["id"] for each in ask_for(service, "GET", "/v3/types")["volume_types"]]
    group = make("group", group_type=group_type, volume_types=types)
    other = make("volume", size=1)
    ask_for(service, "PUT", f"/v3/groups/{group}", {"group": {"add_volumes": other}})
    service.settle()
    faults.plan({"create_snapshot": [{"error": "OutOfSpace"}]})
    whole = str(
        ask_for(service, "POST", "/v3/group_snapshots", {"group_snapshot": {"group_id": group}})["group_snapshot"]["id"]
    )
    service.settle()
    wanted = {
        bad: ("VOLUME", "008_012"), snapshot: ("VOLUME_SNAPSHOT", "009_002"), volume: ("VOLUME", "007_010"),
        whole: ("GROUP_SNAPSHOT", "000_001"),
    }  # fmt: skip
    every = ask_for(service, "GET", "/v3/messages")["messages"]
    assert {each["resource_uuid"]: (each["resource_type"], each["event_id"][-7:]) for each in every} == wanted
    for each in every:
        path = f"/v3/messages?event_id={each['event_id']}"
        assert [found["id"] for found in ask_for(service, "GET", path)["messages"]] == [each["id"]]
    assert ask_for(service, "GET", "/v3/messages?event_id=VOLUME_VOLUME_008_002")["messages"] == []
    assert ask_for(service, "GET", "/v3/messages?event_id=VOLUME_VOLUME_999_999")["messages"] == []
    reported = {"volume.create.error", "snapshot.create.error", "volume.resize.error", "group_snapshot.create.error"}
    wait_until(lambda: events_file.exists() and all(each in events_file.read_text() for each in reported), 60)
