"""iSER, Fibre Channel and the fakes through the service: attached, refused, and ended, over simulated targets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

NEWEST = "volume 3.44"
INITIATOR = "iqn.2026-11.org.example:me"
HOST = {"host": "me", "ip": "192.0.2.9"}
FC = {**HOST, "wwpns": ["21000024ff2f1a5c"], "wwnns": ["20000024ff2f1a5c"]}
ISCSI = {**HOST, "initiator": INITIATOR}


def attach(service: ServiceProcess, volume: str, connector: dict[str, Any]) -> tuple[int, Any]:
    body = {"attachment": {"volume_uuid": volume, "connector": connector}}
    return ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version=NEWEST)[:2]


def made(service: ServiceProcess) -> str:
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})
    assert status == 202, content
    id = str(content["volume"]["id"])
    assert service.wait_status("volumes", id) == "available"
    return id


@pytest.mark.row("S126", "S127", "S128", "S140", "S141")
@pytest.mark.parametrize(
    ("exporter", "driver", "connector", "lacks", "kind", "has"),
    [("iser-memory", "memory", ISCSI, "initiator", "iser", {"target_portal": "192.0.2.7:3260", "auth_method": "CHAP"}),
     ("fc-memory", "memory", FC, "wwnns", "fibre_channel", {"target_wwn": "3000000000000001", "target_lun": 1}),
     ("fake-iscsi", "fake", ISCSI, "initiator", "iscsi", {"target_portal": "192.0.2.1:3260", "discard": False}),
     ("fake-iser", "fake", ISCSI, "initiator", "iser", {"target_portal": "192.0.2.7:3260", "discard": False})],
)  # fmt: skip
def test_attached_and_detached(
    make_service: Callable[..., ServiceProcess], exporter: str, driver: str, connector: dict[str, Any],
    lacks: str, kind: str, has: dict[str, Any],
) -> None:  # fmt: skip
    """An incomplete connector is 400 with its name; a whole one attaches, also over a restart, and ends without a rest."""
    service = make_service(
        exporter=exporter, driver=driver, iscsi_portals="192.0.2.1", iser_portals="192.0.2.7", repair_interval=30
    )
    volume = made(service)
    status, content = attach(service, volume, {key: value for key, value in connector.items() if key != lacks})
    assert (status, f"attribute {lacks}" in str(content)) == (400, True), content
    for each in ask(service, "GET", "/v3/attachments", OpenStack_API_Version=NEWEST)[1]["attachments"]:
        assert ask(service, "DELETE", f"/v3/attachments/{each['id']}", OpenStack_API_Version=NEWEST)[0] == 200
    service.settle()
    status, content = attach(service, volume, connector)
    assert status == 200, content
    info = content["attachment"]["connection_info"]
    assert (info["driver_volume_type"], {key: info[key] for key in has}) == (kind, has)
    assert info["volume_id"] == volume
    assert ("auth_password" in info) is ("auth_method" in has)
    service.kill()
    service.wait_dead()
    service.start()
    id = content["attachment"]["id"]
    shown = ask(service, "GET", f"/v3/attachments/{id}", OpenStack_API_Version=NEWEST)[1]["attachment"]
    assert shown["connection_info"] == info
    assert ask(service, "DELETE", f"/v3/attachments/{id}", OpenStack_API_Version=NEWEST)[0] == 200
    service.settle()
    assert list((service.state / "exports").iterdir()) == []
    assert ask(service, "DELETE", f"/v3/volumes/{volume}")[0] == 202
    assert service.wait_status("volumes", volume) == "gone"


@pytest.mark.row("S140")
def test_a_fake_driver_logs_and_executes_nothing(make_service: Callable[..., ServiceProcess]) -> None:
    """Every call is in the log; no file is made; its pool has no end, and is all reserved."""
    service = make_service(exporter="fake-iscsi", driver="fake")
    volume = made(service)
    body = {"snapshot": {"volume_id": volume}}
    snapshot = ask(service, "POST", "/v3/snapshots", body)[1]["snapshot"]["id"]
    assert service.wait_status("snapshots", snapshot) == "available"
    for clone in ({"source_volid": volume}, {"snapshot_id": snapshot}):
        id = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, **clone}})[1]["volume"]["id"]
        assert service.wait_status("volumes", id) == "available"
    assert ask(service, "POST", f"/v3/volumes/{volume}/action", {"os-extend": {"new_size": 2}})[0] == 202
    assert service.wait_status("volumes", volume) == "available"
    assert ask(service, "DELETE", f"/v3/snapshots/{snapshot}")[0] == 202
    assert service.wait_status("snapshots", snapshot) == "gone"
    log = service.log.read_text()
    for command in ("create_volume", "create_snapshot", "create_cloned_volume", "create_volume_from_snapshot",
                    "extend_volume", "delete_snapshot"):  # fmt: skip
        assert command in log, command
    assert not Path(f"/tmp/volume-{volume}").exists()
    (pool,) = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    found = pool["capabilities"]
    assert {found["total_capacity_gb"], found["free_capacity_gb"]} == {"infinite"}
    assert (found["provisioned_capacity_gb"], found["reserved_percentage"]) == (0, 100)


@pytest.mark.row("S130")
@pytest.mark.parametrize(
    ("exporter", "protocol"), [("lio-memory", "iSCSI"), ("iser-memory", "iSER"), ("fc-memory", "FC")]
)
def test_statistics_name_the_transport(
    make_service: Callable[..., ServiceProcess], exporter: str, protocol: str
) -> None:
    """A driver without statistics has one pool of nothing, all reserved, by each transport; types can require it."""
    service = make_service(exporter=exporter, driver="memory", iscsi_portals="192.0.2.1")
    Faults(service.state / "pool", "file").plan({"get_volume_stats": [{"returns": []}]})

    def shown() -> dict[str, Any]:
        (pool,) = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
        return dict(pool["capabilities"])

    wait_until(lambda: shown()["total_capacity_gb"] == 0)
    found = shown()
    assert (found["storage_protocol"], found["driver_version"], found["free_capacity_gb"]) == (protocol, "1.0", 0)
    assert (found["reserved_percentage"], found["QoS_support"]) == (100, False)


def test_a_type_can_require_fibre_channel(make_service: Callable[..., ServiceProcess]) -> None:
    """storage_protocol FC chooses that transport of a backend with several, although its connection_info has another word."""
    service = make_service(backends="one = { driver = 'memory', exporters = ['nbd', 'fc-memory'] }")
    body = {"volume_type": {"name": "fabric", "extra_specs": {"storage_protocol": "<in> FC"}}}
    assert ask(service, "POST", "/v3/types", body)[0] == 200
    volume = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, "volume_type": "fabric"}})[1]
    id = volume["volume"]["id"]
    assert service.wait_status("volumes", id) == "available"
    status, content = attach(service, id, FC)
    assert (status, content["attachment"]["connection_info"]["driver_volume_type"]) == (200, "fibre_channel")
    status, content = attach(service, made(service), FC)
    assert content["attachment"]["connection_info"]["driver_volume_type"] == "nbd"
    assert json.dumps(content)
