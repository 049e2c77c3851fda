"""Replication through the real service: the simulator copies its volumes to another site, and the service keeps what it says."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from asking import ask
from replicated import (
    NEWEST,
    OPTIONS,
    attached_bytes,
    backend,
    begin,
    create,
    file_at,
    good,
    new_type,
    newest,
    shown,
    wait_copy,
    wait_replica,
    write,
)
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.model import states

SPECS = ("replication", "capabilities:replication", "replication_enabled")


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """One replicated backend, and a type for each spelling of the extra spec."""
    made = make_service(driver="memory-replicated", driver_options=OPTIONS)
    for spec in SPECS:
        new_type(made, spec)
    return made


def link(service: ServiceProcess, status: str | None) -> None:
    """What the simulator's link says from now on; None: it works."""
    plan = {"replication": [{"returns": status}]} if status else {}
    Faults(service.state / "pool", "file").plan(plan)


def act(service: ServiceProcess, id: str, action: str) -> tuple[int, Any]:
    status, content, _ = ask(service, "POST", f"/v3/volumes/{id}/action", {action: None}, OpenStack_API_Version=NEWEST)
    return status, content


def set_column(service: ServiceProcess, id: str, **values: str | None) -> None:
    """In the row, behind the service's back."""
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        for name, value in values.items():
            conn.execute(f"UPDATE volumes SET {name} = ? WHERE id = ?", [value, id])


@pytest.mark.row("S048", "S063", "S064", "S065")
@pytest.mark.parametrize("spec", SPECS)
def test_a_volume_of_a_replicated_type_gets_a_replica(service: ServiceProcess, spec: str) -> None:
    """By each spelling (T4): copying, then active; what the driver says is refreshed; deleted, nothing is left on any site."""
    link(service, "copying")
    id = create(service, volume_type=spec)
    assert shown(service, id)["replication_status"] == "copying"
    link(service, None)
    wait_replica(service, id)
    volume = shown(service, id)
    assert volume["os-volume-replication:extended_status"].startswith("copied at")
    assert (file_at(service, id, "far").exists(), file_at(service, id, "near").exists()) == (True, True)
    for status in sorted(states.REPLICA_STATUSES - {"active", "copying"}):
        link(service, status)
        wait_replica(service, id, status)
    good(service, "DELETE", f"/v3/volumes/{id}")
    assert service.wait_status("volumes", id) == "gone"
    assert [path for site in ("pool", "far", "near") for path in (service.state / site / "volumes").iterdir()] == []


@pytest.mark.row("S048")
def test_other_volumes_are_left_alone(service: ServiceProcess) -> None:
    """A volume of another type has no replica and no status; a replica that cannot be read keeps the one that it had."""
    plain, id = create(service, volume_type=None), wait_replica(service, create(service))
    Faults(service.state / "pool", "file").plan({"get_replication_status": [{"error": "BackendUnavailable"}]})
    wait_until(lambda: "the status of a replica cannot be read" in service.log.read_text(), 30)
    assert [shown(service, each)["replication_status"] for each in (plain, id)] == [None, "active"]
    assert not file_at(service, plain, "far").exists()


@pytest.mark.row("S063")
def test_a_backend_says_whether_it_replicates(service: ServiceProcess) -> None:
    """Its service is enabled and its targets are in its capabilities; without targets it is disabled and gets no such volume."""
    wait_until(lambda: backend(service)["replication_status"] == "enabled", 30)
    assert good(service, "GET", "/v3/capabilities/me@file")["replication_targets"] == ["far", "near"]
    service.stop()
    service.settings["DRIVER_OPTIONS"] = "replication_targets = {}"
    del service.settings["driver_options"]
    service.start()
    wait_until(lambda: backend(service)["replication_status"] == "disabled", 30)
    for spec in SPECS:
        body = {"volume": {"size": 1, "volume_type": spec}}
        status, content, _ = ask(service, "POST", "/v3/volumes", body)
        assert status >= 400, content
        assert "No valid backend" in str(content)


# Replication status of a volume -> the actions that are allowed; in any other status both are refused.
ALLOWED = {
    None: set(),
    "disabled": set(),
    "copying": set(),
    "active": {"os-promote-replica"},
    "active-stopped": {"os-promote-replica", "os-reenable-replication"},
    "inactive": {"os-reenable-replication"},
    "error": {"os-reenable-replication"},
    "failed-over": set(),
}


@pytest.mark.row("S046", "S047")
def test_preconditions_of_promote_and_reenable(make_service: Callable[..., ServiceProcess]) -> None:
    """By replication status as the table says; promote also needs an available volume. Refused is 400 with the reason."""
    service = make_service(driver="memory-replicated", driver_options=OPTIONS, repair_interval=3600)
    new_type(service, "replication")
    id = create(service)
    for status, allowed in ALLOWED.items():
        for action in ("os-promote-replica", "os-reenable-replication"):
            set_column(service, id, replication_status=status)
            found, content = act(service, id, action)
            assert found == (202 if action in allowed else 400), (status, action, content)
            assert found == 202 or "replication error" in str(content)
            service.settle()
            assert shown(service, id)["status"] == "available"
    set_column(service, id, replication_status="active", status="reserved")
    assert "has to be available" in str(act(service, id, "os-promote-replica"))


@pytest.mark.row("S046", "S102")
def test_a_driver_that_cannot_promote_is_a_replication_error(make_service: Callable[..., ServiceProcess]) -> None:
    """The operation says so, and the volume and its replica are as they were."""
    service = make_service(driver="memory-replicated", driver_options=OPTIONS)
    new_type(service, "replication")
    id = wait_replica(service, create(service))
    Faults(service.state / "pool", "file").plan({"promote_replica": [{"error": "CommandFailed"}]})
    assert act(service, id, "os-promote-replica")[0] == 202
    service.settle()
    error = newest(service, "volume.promote_replica")["error"]
    assert (error["kind"], "simulated fault" in error["message"]) == ("ReplicationError", True)
    assert (shown(service, id)["status"], shown(service, id)["replication_status"]) == ("available", "active")


@pytest.mark.row("S046", "S047", "S102", "S103")
def test_promote_and_reenable(service: ServiceProcess) -> None:
    """The promoted volume has what was written before the last copy, also for its next attachment; then it is copied back."""
    id = create(service)
    write(file_at(service, id), b"before")
    wait_copy(service, id, b"before")
    link(service, "active-stopped")
    wait_replica(service, id, "active-stopped")
    link(service, None)
    write(file_at(service, id), b"lost! ")
    assert act(service, id, "os-promote-replica")[0] == 202
    service.settle()
    assert (shown(service, id)["status"], shown(service, id)["replication_status"]) == ("available", "inactive")
    assert attached_bytes(service, id) == b"before"
    write(file_at(service, id, "far"), b"after!")
    assert act(service, id, "os-reenable-replication")[0] == 202
    wait_replica(service, id)
    wait_copy(service, id, b"after!", "pool")


@pytest.mark.row("S023", "S104")
def test_a_volume_of_a_replica(service: ServiceProcess) -> None:
    """It has the bytes of the replica and not those of the volume; what has no replica, or a second source, is refused."""
    id = create(service)
    write(file_at(service, id), b"before")
    wait_copy(service, id, b"before")
    link(service, "active-stopped")
    wait_replica(service, id, "active-stopped")
    write(file_at(service, id), b"after!")
    tested = create(service, size=None, volume_type=None, source_replica=id)
    assert (shown(service, tested)["size"], shown(service, tested)["volume_type"]) == (1, "replication")
    assert begin(file_at(service, tested)) == b"before"
    assert begin(file_at(service, id)) == b"after!"
    for source, other, code in ((tested, {}, 400), ("x", {}, 404), (id, {"source_volid": id}, 400)):
        body = {"volume": {"size": 1, "source_replica": source, **other}}
        assert ask(service, "POST", "/v3/volumes", body)[0] == code
