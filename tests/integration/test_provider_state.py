"""What a driver returns of an object comes back to it with every later call: the simulator stores objects under its own ids."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from hypothesis import given
from hypothesis import strategies as st
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults, MemoryDriver
from nbdsvc import errors
from nbdsvc.driver import ProviderState, VolumeRef
from nbdsvc.model import names
from nbdsvc.units import MiB

OPTIONS = "provider_ids = true\ninstant_clone = "
NEWEST = "volume 3.44"


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def ended(service: ServiceProcess, noun: str, id: str, wanted: str = "available") -> str:
    assert service.wait_status(noun, id) == wanted
    return id


def new_volume(service: ServiceProcess, **wanted: Any) -> str:
    made = good(service, "POST", "/v3/volumes", {"volume": {"size": 1, **wanted}})
    return ended(service, "volumes", str(made["volume"]["id"]))


def new_snapshot(service: ServiceProcess, volume: str) -> str:
    made = good(service, "POST", "/v3/snapshots", {"snapshot": {"volume_id": volume}})
    return ended(service, "snapshots", str(made["snapshot"]["id"]))


def file_of(service: ServiceProcess, id: str) -> Path:
    provider = good(service, "GET", f"/v3/volumes/{id}")["volume"]["provider_id"]
    assert provider not in (None, id)
    return service.state / "pool" / "volumes" / f"volume-{provider}"


def write(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


@pytest.mark.row("S064", "S066", "S083", "S094", "S097")
@pytest.mark.parametrize("instant", ["true", "false"])
def test_it_is_kept_and_given_back(make_service: Callable[..., ServiceProcess], instant: str) -> None:
    """Through snapshot, clone, restart, extend, revert, manage and delete each object is found by the id that its row has."""
    service = make_service(driver="memory", driver_options=OPTIONS + instant)
    volume = new_volume(service)
    path = file_of(service, volume)
    write(path, b"before")
    snapshot = new_snapshot(service, volume)
    write(path, b"after!")
    service.kill()
    service.start()
    clone, restored = new_volume(service, source_volid=volume), new_volume(service, snapshot_id=snapshot)
    assert [begin(file_of(service, id)) for id in (clone, restored)] == [b"after!", b"before"]
    good(service, "POST", f"/v3/volumes/{clone}/action", {"os-extend": {"new_size": 2}})
    ended(service, "volumes", clone)
    assert file_of(service, clone).stat().st_size == 2 << 30
    good(service, "POST", f"/v3/volumes/{volume}/action", {"revert": {"snapshot_id": snapshot}})
    ended(service, "volumes", volume)
    assert begin(file_of(service, volume)) == b"before"
    body = {"attachment": {"volume_uuid": volume, "connector": {"host": "me"}}}
    attachment = good(service, "POST", "/v3/attachments", body)["attachment"]["id"]
    good(service, "DELETE", f"/v3/attachments/{attachment}")
    ended(service, "volumes", volume)
    pool = good(service, "GET", f"/v3/volumes/{clone}")["volume"]["os-vol-host-attr:host"]
    name = file_of(service, clone).name
    good(service, "POST", f"/v3/volumes/{clone}/action", {"os-unmanage": {}})
    ended(service, "volumes", clone, "gone")
    body = {"volume": {"host": pool, "ref": {"source-name": name}}}
    managed = ended(service, "volumes", good(service, "POST", "/v3/manageable_volumes", body)["volume"]["id"])
    assert begin(file_of(service, managed)) == b"after!"
    good(service, "DELETE", f"/v3/volumes/{volume}?cascade=true")
    for id in (restored, managed):
        good(service, "DELETE", f"/v3/volumes/{id}")
    for id in (volume, restored, managed):
        ended(service, "volumes", id, "gone")
    pool_folder = service.state / "pool"
    assert [*(pool_folder / "volumes").iterdir(), *(pool_folder / "snapshots").iterdir()] == []


def test_a_creation_that_is_killed_keeps_it(make_service: Callable[..., ServiceProcess]) -> None:
    """Killed before its step was recorded: there is one object, whose id the row has."""
    service = make_service(start=False, driver="memory", driver_options=OPTIONS + "true")
    service.crash_at("volume.create", "after do", "allocate")
    service.start()
    id = str(good(service, "POST", "/v3/volumes", {"volume": {"size": 1}})["volume"]["id"])
    assert service.wait_dead()
    service.start()
    ended(service, "volumes", id)
    assert list((service.state / "pool" / "volumes").iterdir()) == [file_of(service, id)]


def test_what_was_made_in_vain_is_taken_back(make_service: Callable[..., ServiceProcess]) -> None:
    """An object whose state never reached its row is found by the volume's id, and removed."""
    service = make_service(driver="memory", driver_options=OPTIONS + "true")
    fault = {"when": "after", "error": "DeviceBusy", "times": 1}
    Faults(service.state / "pool", "file").plan({"create_volume": [fault]})
    id = str(good(service, "POST", "/v3/volumes", {"volume": {"size": 1}})["volume"]["id"])
    ended(service, "volumes", id, "error")
    assert good(service, "GET", f"/v3/volumes/{id}")["volume"]["provider_id"] is None
    assert list((service.state / "pool" / "volumes").iterdir()) == []


@pytest.mark.row("S083")
def test_a_rebuilt_database_has_it(make_service: Callable[..., ServiceProcess]) -> None:
    """Rows that are made anew after the loss of the database have the ids that their objects are stored under."""
    service = make_service(driver="memory", driver_options=OPTIONS + "true")
    id = new_volume(service)
    snapshot, path = new_snapshot(service, id), file_of(service, id)
    service.kill()
    for file in service.state.glob("nbdsvc.db*"):
        file.unlink()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NBDSVC_")}
    environment |= {f"NBDSVC_{key.upper()}": str(value) for key, value in service.settings.items()}
    argv = [sys.executable, "-m", "nbdsvc", "rebuild", "--project", "p1", "--state-dir", str(service.state)]
    subprocess.run(argv, env=environment, capture_output=True, check=True, timeout=120)
    service.start()
    assert file_of(service, id) == path
    new_volume(service, snapshot_id=snapshot)


@pytest.mark.row("S083")
def test_a_start_takes_over_new_ids(make_service: Callable[..., ServiceProcess]) -> None:
    """Volumes get the id that the driver says; a snapshot only where it has none; ids of other objects are ignored."""
    service = make_service(driver="memory", driver_options=OPTIONS + "true")
    id = new_volume(service)
    kept, empty, path = new_snapshot(service, id), new_snapshot(service, id), file_of(service, id)
    service.stop()
    other = names.new_id()
    moved = path.rename(path.with_name(f"volume-{other}"))
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        conn.execute("UPDATE snapshots SET provider_id = NULL WHERE id = ?", [empty])
    updates = [{"id": each, "provider_id": other} for each in (id, names.new_id())]
    of_snapshots = [{"id": each, "provider_id": other} for each in (kept, empty, names.new_id())]
    fault = {"returns": [updates, of_snapshots]}
    Faults(service.state / "pool", "file").plan({"update_provider_info": [fault]})
    service.settings["UNKNOWN_OBJECTS"] = "leave"
    service.start()
    assert file_of(service, id) == moved
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        found = dict(conn.execute("SELECT id, provider_id FROM snapshots").fetchall())
    assert (found.keys(), found[empty]) == ({kept, empty}, other)
    assert found[kept] not in (None, other)


@pytest.mark.row("S083", "S022")
def test_a_backend_that_cannot_say_its_ids_is_down(make_service: Callable[..., ServiceProcess]) -> None:
    """The next report tries it again."""
    service = make_service(start=False, driver="memory", driver_options=OPTIONS + "true", repair_interval=0.2)
    (service.state / "pool").mkdir(parents=True)
    fault = {"error": "BackendUnavailable", "times": 1}
    Faults(service.state / "pool", "file").plan({"update_provider_info": [fault]})
    service.start()

    def state() -> bool:
        return bool(good(service, "GET", "/v3/os-services")["services"][0]["state"] == "up")

    wait_until(state, 30)
    assert "backend does not say which ids its objects have" in service.log.read_text()


@pytest.mark.row("S070", "S077")
def test_a_driver_takes_part_in_a_connection(make_service: Callable[..., ServiceProcess]) -> None:
    """Its data are in the reply, what it keeps is not, and it fails the attachment by its error; files keep their owner."""
    service = make_service(driver="memory", driver_options=OPTIONS + "true")
    id, updates = new_volume(service), {"set_values": {"entry": "7"}, "remove_values": ["old"]}
    path = file_of(service, id)
    os.chown(path, 1234, 4321)
    returned = {"initiator_update": updates, "discard": True, "driver_volume_type": "odd"}
    Faults(service.state / "pool", "file").plan({"initialize_connection": [{"returns": returned}]})
    connector = {"host": "me", "initiator": "iqn.2026-11.org.example:me"}
    body = {"attachment": {"volume_uuid": id, "connector": connector}}
    info = good(service, "POST", "/v3/attachments", body)["attachment"]["connection_info"]
    assert (info["discard"], info["driver_volume_type"], "initiator_update" in info) == (True, "nbd", False)
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        kept = conn.execute("SELECT initiator, namespace, key, value FROM initiator_data").fetchall()
    assert kept == [(connector["initiator"], "file", "entry", "7")]
    Faults(service.state / "pool", "file").plan({"initialize_connection": [{"error": "BackendUnavailable"}]})
    body = {"attachment": {"volume_uuid": new_volume(service), "connector": connector}}
    status, _content, _ = ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version=NEWEST)
    assert status == 503
    body["attachment"]["connector"] = {"host": "me", "initiator": 7}
    assert ask(service, "POST", "/v3/attachments", body, OpenStack_API_Version=NEWEST)[0] == 400
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)
    pools = good(service, "GET", "/v3/scheduler-stats/get_pools?detail=true")["pools"]
    assert pools[0]["capabilities"]["secure_file_operations"] is True


def test_without_it_nothing_is_touched(tmp_path: Path) -> None:
    """The simulator works on no object whose id its caller has lost, but takes back what was made in vain."""
    driver = MemoryDriver("b", tmp_path / "p", provider_ids=True)
    driver.do_setup()
    ref = VolumeRef(names.new_id(), MiB, "b", {})
    state = driver.create_volume(ref, "op")
    assert driver.create_volume(ref, "op") == state
    with pytest.raises(errors.BackendUnavailable, match="provider id"):
        driver.extend_volume(ref, 2 * MiB)
    assert [(found.id, found.state) for found in driver.list_objects()] == [(ref.id, state)]
    driver.delete_volume(ref)
    assert driver.list_objects() == []


@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 5000))
def test_what_does_not_fit_a_row_is_refused(id: str, location: str, size: int) -> None:
    """A name of more than 255 characters, or data of more than 4096 bytes, is a ValueError that names the field."""
    large = [name for name, text in (("provider_id", id), ("provider_location", location)) if len(text) > 255]
    large += ["driver_data"] if size + 9 > 4096 else []
    try:
        ProviderState(id, location, {"x": "y" * size})
    except ValueError as error:
        assert any(str(error).startswith(name) for name in large)
    else:
        assert not large
