"""os-update_snapshot_status: what a hypervisor reports of snapshots that it makes itself, of which there are none."""

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from drivers.memory import Faults


def _report(service: ServiceProcess, id: str, **fields: str) -> int:
    return ask(service, "POST", f"/v3/snapshots/{id}/action", {"os-update_snapshot_status": fields})[0]


@pytest.mark.parametrize(
    ("now", "reported", "expected"),
    [
        ("creating", "creating", 202),
        ("creating", "available", 202),
        ("creating", "error", 202),
        ("creating", "error_deleting", 400),
        ("deleting", "error_deleting", 202),
        ("deleting", "available", 400),
        ("available", "error", 400),
        ("error", "available", 400),
        ("available", "anything", 400),
    ],
)
def test_a_report_follows_the_table(shared_service: ServiceProcess, now: str, reported: str, expected: int) -> None:
    """Of a snapshot that no operation works on: from creating and deleting only, to what these lead to, with its progress."""
    client = shared_service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert shared_service.wait_status("volumes", volume) == "available"
    id = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    assert shared_service.wait_status("snapshots", id) == "available"
    client.act("snapshots", id, "os-reset_status", {"status": now})
    assert _report(shared_service, id, status=reported, progress="80%") == expected
    shown = client.get("snapshots", id)["snapshot"]
    progress = shown["os-extended-snapshot-attributes:progress"]
    assert (shown["status"], progress == "80%") == ((reported, True) if expected == 202 else (now, False))
    for wrong in ({}, {"status": "error", "progress": "101%"}, {"status": "error", "progress": "x"}):
        assert _report(shared_service, id, **wrong) == 400
    assert _report(shared_service, UNKNOWN, status="error") == 404


def test_an_operation_says_itself_how_it_ends(service: ServiceProcess) -> None:
    """While the service makes the snapshot, a report is refused, and the snapshot becomes what it becomes."""
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"
    Faults(service.state / "pool", "file").plan({"create_snapshot": [{"delay": 1}]})
    id = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    assert _report(service, id, status="error") == 409
    assert service.wait_status("snapshots", id) == "available"
