"""Several backends in one process: each with its own pools, health and slots; a volume's type decides which one it goes to."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from backends import INITIATOR
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc import compose, config, errors
from nbdsvc.model import names
from nbdsvc.store.database import Database

BACKENDS = """
[solid]
driver = 'file'
[swamp]
driver = 'memory'
options = { capacity = 1099511627776 }
"""
# More copies than a backend and a project have slots.
MANY = 40


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """A file and a memory backend, and a type for each."""
    made = make_service(backends=BACKENDS, max_operations=MANY)
    for name in ("solid", "swamp"):
        new_type(made, name, {"volume_backend_name": name})
    return made


def new_type(service: ServiceProcess, name: str, specs: dict[str, str]) -> None:
    body = {"volume_type": {"name": name, "extra_specs": specs}}
    assert ask(service, "POST", "/v3/types", body)[0] == 200


def create(service: ServiceProcess, **wanted: Any) -> str:
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, **wanted}})
    assert status == 202, content
    return str(content["volume"]["id"])


def shown(service: ServiceProcess, id: str) -> Any:
    return ask(service, "GET", f"/v3/volumes/{id}")[1]["volume"]


def attach(service: ServiceProcess, id: str, **connector: Any) -> Any:
    """The attachment."""
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me", **connector}}}
    status, content, _ = ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version="volume 3.44")
    assert status == 200, content
    return content["attachment"]


def detach(service: ServiceProcess, attachment: str) -> None:
    status, content, _ = ask(service, "DELETE", f"/v3/attachments/{attachment}", OpenStack_API_Version="volume 3.44")
    assert status == 200, content


def test_a_type_places_its_volumes(service: ServiceProcess) -> None:
    """A volume goes to the backend that its type names; its snapshots, clones and exports are that backend's."""
    for name in ("solid", "swamp"):
        id = create(service, volume_type=name)
        assert service.wait_status("volumes", id) == "available"
        assert shown(service, id)["os-vol-host-attr:host"] == f"me@{name}#{name}"
        assert (service.state / "pools" / name / "volumes" / f"volume-{id}").stat().st_size == 1 << 30
        clone = create(service, source_volid=id)
        assert service.wait_status("volumes", clone) == "available"
        assert shown(service, clone)["os-vol-host-attr:host"] == f"me@{name}#{name}"
        made = attach(service, id)
        assert made["connection_info"]["driver_volume_type"] == "nbd"
        detach(service, made["id"])


def test_each_backend_is_a_service_with_pools(service: ServiceProcess) -> None:
    """os-services and get_pools show host@backend; disabling one leaves the others to new volumes."""
    rows = ask(service, "GET", "/v3/os-services")[1]["services"]
    assert {(row["host"], row["state"]) for row in rows} == {("me@solid", "up"), ("me@swamp", "up")}
    pools = ask(service, "GET", "/v3/scheduler-stats/get_pools")[1]["pools"]
    assert {pool["name"] for pool in pools} == {"me@solid#solid", "me@swamp#swamp"}
    assert ask(service, "PUT", "/v3/os-services/disable", {"host": "me@swamp", "binary": "cinder-volume"})[0] == 200
    assert shown(service, create(service))["os-vol-host-attr:host"] == "me@solid#solid"
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, "volume_type": "swamp"}})
    assert (status, "swamp" in str(content)) == (503, True)


def test_a_backend_that_hangs_holds_up_no_other(service: ServiceProcess) -> None:
    """While all commands of one backend hang, its heartbeat too, every request to the other one comes to its end."""
    hang = [{"delay": 3600}]
    Faults(service.state / "pools" / "swamp", "swamp").plan(
        dict.fromkeys(("create_volume", "delete_volume", "check_for_setup_error", "get_volume_stats"), hang)
    )
    stuck = [create(service, volume_type="swamp") for _ in range(MANY)]
    more = {"volume": {"size": 1, "volume_type": "swamp"}}
    assert (
        ask(service, "POST", "/v3/volumes", more)[0] == 413
    )  # as many as a project may have, but on that backend only
    reported = _reported(service, "me@solid")
    for _ in range(3):
        id = create(service, volume_type="solid")
        assert service.wait_status("volumes", id) == "available"
        detach(service, attach(service, id)["id"])
        assert ask(service, "POST", f"/v3/volumes/{id}/action", {"os-extend": {"new_size": 2}})[0] == 202
        assert service.wait_status("volumes", id) == "available"
        assert ask(service, "DELETE", f"/v3/volumes/{id}")[0] == 202
        assert service.wait_status("volumes", id) == "gone"
    wait_until(lambda: _reported(service, "me@solid") != reported)
    assert {shown(service, id)["status"] for id in stuck} == {"creating"}
    service.kill()


def _reported(service: ServiceProcess, host: str) -> str:
    (row,) = ask(service, "GET", f"/v3/os-services?host={host}")[1]["services"]
    return str(row["updated_at"])


def test_a_restart_with_a_backend_that_hangs(service: ServiceProcess) -> None:
    """A backend whose driver does not start is not waited for: the others serve, and its volumes are there again with it."""
    id = create(service, volume_type="swamp")
    assert service.wait_status("volumes", id) == "available"
    service.kill()
    service.wait_dead()
    faults = Faults(service.state / "pools" / "swamp", "swamp")
    faults.plan({"do_setup": [{"error": "BackendUnavailable"}]})
    service.start()
    assert service.wait_status("volumes", create(service, volume_type="solid")) == "available"
    rows = ask(service, "GET", "/v3/os-services")[1]["services"]
    assert {(row["host"], row["state"]) for row in rows} == {("me@solid", "up"), ("me@swamp", "down")}
    faults.plan({})
    wait_until(lambda: {row["state"] for row in ask(service, "GET", "/v3/os-services")[1]["services"]} == {"up"})
    assert shown(service, id)["status"] == "available"


def test_each_backend_has_its_own_transport(make_service: Callable[..., ServiceProcess]) -> None:
    """NBD and iSCSI at once: each export is made, survives or is repaired after a kill, and ends by its backend's transport."""
    service = make_service(
        iscsi_portals="127.0.0.1:3262",
        backends="solid.driver = 'file', swamp = { driver = 'memory', exporters = ['lio-memory'] }",
    )
    made = {}
    for name, kind in (("solid", "nbd"), ("swamp", "iscsi")):
        new_type(service, name, {"volume_backend_name": name})
        id = create(service, volume_type=name)
        assert service.wait_status("volumes", id) == "available"
        made[name] = attach(service, id, initiator=INITIATOR)
        assert made[name]["connection_info"]["driver_volume_type"] == kind
    servers = service.servers()
    service.kill()
    service.wait_dead()
    service.start()
    service.client()
    wait_until(lambda: "attachment.repair" in _kinds(service))  # the simulator of LIO loses its targets at a restart
    service.settle()
    assert _kinds(service).count("attachment.repair") == 1
    assert service.servers() == servers
    for attachment in made.values():
        detach(service, attachment["id"])
    wait_until(lambda: not list((service.state / "exports").iterdir()))


def _kinds(service: ServiceProcess) -> list[str]:
    return [row["kind"] for row in ask(service, "GET", "/v3/operations?all_tenants=1&limit=1000")[1]["operations"]]


@pytest.mark.parametrize(
    "specs",
    [{"volume_backend_name": "nowhere"}, {"capabilities:thick_provisioning_support": "<is> True"},
     {"storage_protocol": "FC"}],
)  # fmt: skip
def test_a_type_that_no_backend_meets(shared_service: ServiceProcess, specs: dict[str, str]) -> None:
    """The extra specs of a type select pools: a volume that none can hold is refused, and the demand named."""
    name = names.new_id()
    new_type(shared_service, name, specs)
    body = {"volume": {"size": 1, "volume_type": name}}
    status, content, _ = ask(shared_service, "POST", "/v3/volumes", body)
    (demand,) = (value for value in specs.values())
    assert (status, demand in str(content)) == (503, True), content


@pytest.mark.row("S130")
def test_a_driver_without_statistics_has_one_pool_of_nothing(make_service: Callable[..., ServiceProcess]) -> None:
    """It reports name, version and protocol, no QoS, no functions and a pool that is all reserved, and a refusal says so."""
    service = make_service(driver="memory")
    Faults(service.state / "pool", "file").plan({"get_volume_stats": [{"returns": []}]})
    wait_until(lambda: _detail(service, "total_capacity_gb") == 0)
    for name, value in {
        "pool_name": "file", "volume_backend_name": "file", "vendor_name": "nbdsvc", "driver_version": "1.0",
        "storage_protocol": "nbd", "free_capacity_gb": 0, "provisioned_capacity_gb": 0, "reserved_percentage": 100,
        "QoS_support": False, "filter_function": None, "goodness_function": None, "backend_state": "up",
    }.items():  # fmt: skip
        assert _detail(service, name) == value, name
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})
    assert (status, "0 GiB free of 0, 100 % reserved" in str(content)) == (400, True), content


def _detail(service: ServiceProcess, name: str) -> Any:
    (pool,) = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    return pool["capabilities"][name]


def test_a_backend_that_is_renamed_loses_nothing(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """Requests for its volumes fail at once and say why, `explain` names them, and all is as before under the old name."""
    service = make_service(backends=_named(tmp_path, "old"))
    volume = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})[1]["volume"]["id"]
    service.wait_status("volumes", volume)
    service.stop()
    service.settings["backends"] = _named(tmp_path, "new")
    service.start()
    assert ask(service, "DELETE", f"/v3/volumes/{volume}")[0] == 202
    assert service.wait_status("volumes", volume) == "error_deleting"
    newest = ask(service, "GET", "/v3/operations")[1]["operations"][0]
    assert "serves no such backend, but new" in newest["error"]["message"]
    found = ask(service, "GET", "/v3/explain")[1]["findings"]
    assert f"volume.backend_gone {volume}" in [each["key"] for each in found]
    service.stop()
    service.settings["backends"] = _named(tmp_path, "old")
    service.start()
    assert ask(service, "POST", f"/v3/volumes/{volume}/action", {"os-force_delete": {}})[0] == 202
    assert service.wait_status("volumes", volume) == "gone"


def _named(folder: Path, name: str) -> str:
    return f"[{name}]\ndriver = 'memory'\noptions = {{ pool = '{folder}/pool' }}\n"


@pytest.mark.row("S082")
def test_a_misnamed_property_is_told_once(make_service: Callable[..., ServiceProcess]) -> None:
    """The log has the vendor's name that is not usable as it is once, not once a report."""
    service = make_service(driver="memory", driver_options="vendor = 'si:m'")

    def reported() -> str:
        return str(ask(service, "GET", "/v3/os-services")[1]["services"][0]["updated_at"])

    first = reported()
    wait_until(lambda: reported() != first)
    assert service.log.read_text().count("a property of the backend is misnamed") == 1


@pytest.mark.row("S035", "S036", "S078", "S079", "S082")
def test_what_backends_report(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """get_pools has the functions that count, and what the settings add; capabilities have the vendor's properties."""
    (tmp_path / "sick").write_text("no folder")
    settings = (
        f"[own]\ndriver = 'memory'\ncapabilities = {{ tier = 'gold' }}\n"
        f"options = {{ pool = '{tmp_path}/own', filter_function = 'volume.size < 5', vendor = 'sim' }}\n"
        f"[plain]\ndriver = 'memory'\noptions = {{ pool = '{tmp_path}/plain', default_goodness_function = '30' }}\n"
        f"[sick]\ndriver = 'file'\noptions = {{ pool = '{tmp_path}/sick' }}\n"
    )
    service = make_service(backends=settings, filter_function="volume.size < 9")
    pools = ask(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"]
    found = {pool["name"]: pool["capabilities"] for pool in pools}
    assert set(found) == {"me@own#own", "me@plain#plain"}
    own, plain = found["me@own#own"], found["me@plain#plain"]
    assert (own["tier"], own["allocated_capacity_gb"]) == ("gold", 0)
    assert (own["filter_function"], own["goodness_function"]) == ("volume.size < 5", None)
    assert (plain["filter_function"], plain["goodness_function"]) == ("volume.size < 9", "30")
    shown = ask(service, "GET", "/v3/capabilities/me@own")[1]
    assert shown["properties"]["sim:delay"] == {
        "title": "Delay", "description": "Milliseconds of each request.", "type": "integer", "default": 0, "minimum": 0,
        "maximum": 1000,
    }  # fmt: skip
    assert (shown["volume_backend_name"], shown["namespace"]) == ("own", "OS::Storage::Capabilities::me@own")
    assert ask(service, "GET", "/v3/capabilities/me@sick")[0] == 404


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"filter_function": "1 +"}, "Setting filter_function: column 4"),
        ({"goodness_function": "volume.color"}, "Setting goodness_function: column 1: there is no volume.color"),
        ({"driver": "memory", "driver_options": "default_filter_function = '1 +'"}, "the driver's filter_function"),
    ],
)
def test_wrong_functions_end_the_start(
    make_service: Callable[..., ServiceProcess], given: dict[str, str], setting: str
) -> None:
    """The setting for all backends and a driver's own functions are checked at the start, as those of options are."""
    service = make_service(start=False, **given)
    with pytest.raises(AssertionError, match=setting):
        service.start()


@pytest.mark.row("S078")
def test_functions_of_the_backends_place_volumes(make_service: Callable[..., ServiceProcess]) -> None:
    """A filter function turns volumes away, a goodness function draws them, and a refusal names both backends and why."""
    service = make_service(
        backends="solid = { driver = 'file', options = { filter_function = 'volume.size >= 5 and volume.size < 9' } }, "
        "swamp = { driver = 'memory', options = { filter_function = 'volume.size < 6', goodness_function = '100' } }",
    )
    placed = {size: shown(service, create(service, size=size))["os-vol-host-attr:host"] for size in (1, 5, 6)}
    assert placed == {1: "me@swamp#swamp", 5: "me@swamp#swamp", 6: "me@solid#solid"}
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 9}})
    message = content["serviceUnavailable"]["message"]
    assert status == 503
    for name in ("solid", "swamp"):
        assert f"me@{name}#{name}: DriverFilter: the backend's filter_function is false: volume.size" in message


def _hinted(service: ServiceProcess, hints: Any, **wanted: Any) -> tuple[int, Any]:
    body = {"volume": {"size": 1, **wanted}, "OS-SCH-HNT:scheduler_hints": hints}
    status, content, _ = ask(service, "POST", "/v3/volumes", body)
    return status, content


def test_hints_place_a_volume(service: ServiceProcess) -> None:
    """same_host, different_host and local_to_instance decide the backend, also for a clone, and what they name must exist."""
    there = {name: create(service, volume_type=name) for name in ("solid", "swamp")}
    for id in there.values():
        assert service.wait_status("volumes", id) == "available"
    solid, swamp = there["solid"], there["swamp"]
    for hints, name in (
        ({"same_host": solid}, "solid"),
        ({"same_host": [swamp]}, "swamp"),
        ({"different_host": [solid]}, "swamp"),
        ({"different_host": swamp, "other": 1}, "solid"),
    ):
        status, content = _hinted(service, hints)
        assert status == 202, content
        assert shown(service, content["volume"]["id"])["os-vol-host-attr:host"] == f"me@{name}#{name}"
    status, content = _hinted(service, {"different_host": [solid, swamp]})
    assert (status, str(content).count("DifferentBackendFilter")) == (503, 2), content
    assert _hinted(service, {"different_host": solid}, source_volid=solid)[0] == 503
    assert _hinted(service, {"same_host": solid}, source_volid=solid)[0] == 202
    missing, instance = names.new_id(), names.new_id()
    for hints in ({"same_host": missing}, {"different_host": [solid, missing]}, {"local_to_instance": instance}):
        assert _hinted(service, hints)[0] == 404
    for wrong in ({"same_host": 5}, {"different_host": [{}]}, {"query": '[">=", "$free_capacity_gb", 5]'}, "x"):
        assert _hinted(service, wrong)[0] == 400
    body = {"attachment": {"volume_uuid": solid, "instance_uuid": instance, "connector": {"host": "me"}}}
    assert ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version="volume 3.44")[0] == 200
    assert _hinted(service, {"local_to_instance": instance})[0] == 202


def test_explain_placement_says_beforehand(service: ServiceProcess) -> None:
    """The verb shows every pool, best first, with weight or filter and reason; what it says is what a creation then does."""

    def explain(*arguments: str) -> list[Any]:
        command = [sys.executable, "-m", "nbdsvc", "explain-placement", *arguments, "--json"]
        done = subprocess.run(
            command, env={**os.environ, "NBDSVC_ENDPOINT": service.url}, capture_output=True, text=True, check=True
        )
        return list(json.loads(done.stdout))

    first, second = explain("1")
    assert first["passes"] and second["passes"] and first["weight"] >= second["weight"]
    assert shown(service, create(service))["os-vol-host-attr:host"] == first["name"]
    best, other = explain("1", "--type", "solid")
    assert (best["name"], best["passes"]) == ("me@solid#solid", True)
    assert (other["name"], other["filter"]) == ("me@swamp#swamp", "CapabilitiesFilter")
    assert other["reason"] == "volume_backend_name = solid requested, this has swamp"
    refused = explain("1", "--type", "solid", "--without", "me@solid")
    assert {row["filter"] for row in refused} == {"IgnoreAttemptedHostsFilter", "CapabilitiesFilter"}
    assert {row["filter"] for row in explain("900000000")} == {"CapacityFilter"}
    for wrong, status in (
        ("size=0", 400),
        ("", 400),
        ("size=1&volume_type=none", 404),
        ("size=1&availability_zone=x", 400),
    ):
        assert ask(service, "GET", f"/v3/scheduler-stats/placement?{wrong}")[0] == status


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short name, because socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("options", ["filter_function = 'volume.sise < 5'", "goodness_function = '1 +'"])
def test_a_wrong_function_ends_the_start(short_folder: Path, options: str) -> None:
    """A function with a syntax error or an unknown name is found when the settings are read, by backend and column."""
    backends = f"solid = {{ driver = 'file', options = {{ {options} }} }}"
    settings = config.load(environment={"NBDSVC_BACKENDS": backends}, state_dir=short_folder)
    with pytest.raises(errors.ConfigError, match=r"backends\.solid\.options\.(filter|goodness)_function: column"):
        compose.make_host(settings, Database(str(short_folder / "nbdsvc.db")))
