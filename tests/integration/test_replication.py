"""Replication through the real service: the simulator copies its volumes to another site, and the service keeps what it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.model import states

NEWEST = "volume 3.44"
OPTIONS = "replication_targets = { far = 'STATE/far', near = 'STATE/near' }"
SPECS = ("replication", "capabilities:replication", "replication_enabled")


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """One replicated backend, and a type for each spelling of the extra spec."""
    made = make_service(driver="memory-replicated", driver_options=OPTIONS)
    for spec in SPECS:
        new_type(made, spec)
    return made


def new_type(service: ServiceProcess, spec: str) -> None:
    body = {"volume_type": {"name": spec, "extra_specs": {spec: "<is> True"}}}
    good(service, "POST", "/v3/types", body)


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def create(service: ServiceProcess, **wanted: Any) -> str:
    body = {"volume": {"size": 1, "volume_type": "replication", **wanted}}
    id = str(good(service, "POST", "/v3/volumes", body)["volume"]["id"])
    assert service.wait_status("volumes", id) == "available"
    return id


def shown(service: ServiceProcess, id: str) -> Any:
    return good(service, "GET", f"/v3/volumes/{id}")["volume"]


def wait_replica(service: ServiceProcess, id: str, status: str = "active") -> str:
    wait_until(lambda: shown(service, id)["replication_status"] == status, 30, lambda: shown(service, id))
    return id


def link(service: ServiceProcess, status: str | None) -> None:
    """What the simulator's link says from now on; None: it works."""
    plan = {"replication": [{"returns": status}]} if status else {}
    Faults(service.state / "pool", "file").plan(plan)


def file_at(service: ServiceProcess, id: str, site: str = "pool") -> Path:
    return service.state / site / "volumes" / f"volume-{id}"


def backend(service: ServiceProcess) -> Any:
    return good(service, "GET", "/v3/os-services")["services"][0]


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
