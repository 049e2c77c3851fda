"""Services of several hosts: their state, unfinished work, and the older names of the same."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from nbdsvc.api.services import view
from nbdsvc.backends.services import ServiceReport
from nbdsvc.model import clock, names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import repositories
from nbdsvc.store.database import Database

GONE = StorageBackend(names.new_id(), "gone", "pool", updated_at=clock.now() - timedelta(days=1))


def at(version: str) -> dict[str, str]:
    return {"OpenStack_API_Version": f"volume {version}"}


@pytest.fixture(scope="module")
def two_hosts(shared_service: ServiceProcess) -> Iterator[ServiceProcess]:
    """One that runs, and one that has not reported for a day."""
    database = Database(str(shared_service.state / "nbdsvc.db"))
    with database.write() as conn:
        repositories.backends.insert(conn, GONE)
    yield shared_service
    with database.write() as conn:
        repositories.backends.delete(conn, GONE.id)
    database.close()


def test_the_list_has_the_fields_of_its_version() -> None:
    """The cluster from 3.7; the state of the backend apart from that of its process from 3.49."""
    down, up = ServiceReport(GONE, is_up=True), ServiceReport(replace(GONE, disabled=True), False, backend_is_up=True)
    assert {"cluster", "backend_state"} & set(view(down, (3, 6))) == set()
    assert set(view(down, (3, 7))) - set(view(down, (3, 6))) == {"cluster"}
    assert set(view(down, (3, 49))) - set(view(down, (3, 48))) == {"backend_state"}
    assert [(row["state"], row["backend_state"]) for row in (view(down, (3, 49)), view(up, (3, 49)))] == [
        ("up", "down"), ("down", "up"),
    ]  # fmt: skip


def test_a_host_that_does_not_report_is_down(two_hosts: ServiceProcess) -> None:
    """In both lists; each filter finds the one that it means."""
    rows = ask(two_hosts, "GET", "/v3/os-services")[1]["services"]
    assert {(row["host"], row["state"]) for row in rows} == {("me@file", "up"), ("gone@pool", "down")}
    hosts = ask(two_hosts, "GET", "/v3/os-hosts")[1]["hosts"]
    assert {(row["host_name"], row["service-status"]) for row in hosts} == {
        ("me@file", "available"), ("gone@pool", "unavailable"),
    }  # fmt: skip
    for query, found in (("host=gone", 1), ("host=gone@pool", 1), ("service=cinder-volume", 2), ("service=x", 0)):
        assert len(ask(two_hosts, "GET", f"/v3/os-services?{query}")[1]["services"]) == found, query


@pytest.mark.parametrize(
    ("wanted", "cleaning", "unavailable"),
    [
        ({}, ["me@file"], ["gone@pool"]),
        ({"binary": "cinder-volume", "is_up": "True"}, ["me@file"], []),
        ({"is_up": False}, [], ["gone@pool"]),
        ({"host": "me"}, ["me@file"], []),
        ({"host": "me@file", "disabled": "true"}, [], []),
        ({"service_id": GONE.id}, [], ["gone@pool"]),
        ({"service_id": 1}, [], []),
        ({"binary": "cinder-scheduler"}, [], []),
        ({"resource_id": UNKNOWN, "resource_type": "volume"}, [], []),
    ],
)
def test_clean_up(two_hosts: ServiceProcess, wanted: Any, cleaning: list[str], unavailable: list[str]) -> None:
    """Services that are up take up their work; those that are down are named; what there is not is empty."""
    status, content, _ = ask(two_hosts, "POST", "/v3/workers/cleanup", wanted, **at("3.24"))
    assert status == 202, content
    assert [each["host"] for each in content["cleaning"]] == cleaning
    assert [each["host"] for each in content["unavailable"]] == unavailable


def test_clean_up_of_a_volume_or_a_snapshot(two_hosts: ServiceProcess) -> None:
    """The service that holds it; a type that there is not, and a version before 3.24, are refused."""
    client = two_hosts.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert two_hosts.wait_status("volumes", volume) == "available"
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    for id, kind, found in (
        (volume, "Volume", 1), (volume, "Snapshot", 0), (volume, None, 1),
        (snapshot, "snapshot", 1), (snapshot, "Volume", 0), (snapshot, None, 1),
    ):  # fmt: skip
        body = {"resource_id": id, "resource_type": kind}
        content = ask(two_hosts, "POST", "/v3/workers/cleanup", body, **at("3.24"))[1]
        assert (len(content["cleaning"]), content["unavailable"]) == (found, []), (id, kind)
    content = ask(two_hosts, "POST", "/v3/workers/cleanup", {"cluster_name": "c"}, **at("3.24"))[1]
    assert content == {"cleaning": [], "unavailable": []}
    for body in ({"resource_type": "Group"}, {"is_up": "perhaps"}, {"colour": "red"}):
        assert ask(two_hosts, "POST", "/v3/workers/cleanup", body, **at("3.24"))[0] == 400
    assert ask(two_hosts, "POST", "/v3/workers/cleanup", {}, **at("3.23"))[0] == 404


def test_os_hosts_disables_and_enables(shared_service: ServiceProcess) -> None:
    """The older way: of a backend or of all of a host, in capitals too. The list of services shows the same."""
    for host, wanted, status in (("me@file", "disable", "disabled"), ("me", "ENABLE ", "enabled")):
        found, content, _ = ask(shared_service, "PUT", f"/v3/os-hosts/{host}", {"status": wanted})
        assert (found, content) == (200, {"host": host, "status": status})
        rows = ask(shared_service, "GET", "/v3/os-services?host=me@file")[1]["services"]
        assert [row["status"] for row in rows] == [status]
    for host, body, expected in (
        ("elsewhere", {"status": "enable"}, 404), ("me", {"status": "off"}, 400), ("me", {}, 400),
        ("me", {"status": "enable", "maintenance_mode": "enable"}, 400),
    ):  # fmt: skip
        assert ask(shared_service, "PUT", f"/v3/os-hosts/{host}", body)[0] == expected


def test_the_use_of_a_host_is_that_of_its_backends(shared_service: ServiceProcess) -> None:
    """os-hosts/HOST has what os-hosts/HOST@BACKEND has, where the host has one backend."""
    created = shared_service.client("p7").post("volumes", body={"volume": {"size": 3}})["volume"]["id"]
    assert shared_service.wait_status("volumes", created)
    rows = [ask(shared_service, "GET", f"/v3/os-hosts/{host}")[1]["host"] for host in ("me", "me@file")]
    counts = [{row["resource"]["project"]: row["resource"]["total_volume_gb"] for row in each} for each in rows]
    assert counts[0] == counts[1]
    assert counts[0]["p7"] == "3"


def test_pools_by_their_capabilities(shared_service: ServiceProcess) -> None:
    """From 3.28 until 3.30 by any of them, a boolean by its words; from 3.35 by the extra specs of a type."""
    for query, version, found in (
        ("storage_protocol=ceph", "3.27", 1), ("storage_protocol=ceph", "3.28", 0), ("storage_protocol=nbd", "3.28", 1),
        ("thin_provisioning_support=TRUE", "3.30", 1), ("thin_provisioning_support=no", "3.30", 0),
        ("reserved_percentage=0&detail=true", "3.30", 1), ("colour=red", "3.30", 0),
    ):  # fmt: skip
        answered = ask(shared_service, "GET", f"/v3/scheduler-stats/get_pools?{query}", **at(version))[1]
        assert len(answered["pools"]) == found, (query, version)
    for spec, value, found in (
        ("thin_provisioning", "<is> True", 1), ("thin_provisioning", "<is> False", 0), ("capabilities:storage_protocol", "iSCSI", 0),
    ):  # fmt: skip
        fields = {"name": f"{spec} {value}", "extra_specs": {spec: value}}
        id = ask(shared_service, "POST", "/v3/types", {"volume_type": fields})[1]["volume_type"]["id"]
        answered = ask(shared_service, "GET", f"/v3/scheduler-stats/get_pools?volume_type={id}", **at("3.35"))[1]
        assert len(answered["pools"]) == found, (spec, value)
