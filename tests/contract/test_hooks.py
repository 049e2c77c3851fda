"""The contract of nbdsvc/driver/hooks.py, over every driver that implements one of its protocols, and of proxies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pools import Made, implementing, set_up, snapshot_of, volume

from drivers.file import FileDriver
from drivers.memory import MemoryDriver
from nbdsvc import errors
from nbdsvc.attachments.initiators import prepare_connection
from nbdsvc.driver import (
    BackupDriver,
    ConnectionDriver,
    Driver,
    ProviderInfoDriver,
    ProxyVD,
    SecureFilesDriver,
    SnapshotDriver,
    TransferDriver,
    VolumeRef,
    capabilities_of,
    check_complete,
    class_name,
)
from nbdsvc.host import Backend
from nbdsvc.store.database import Database

INITIATOR = "iqn.2026-11.org.example:me"


def _can(*protocols: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", implementing(*protocols), indirect=True)


@pytest.mark.row("S070")
@_can("ConnectionDriver")
def test_a_connection_may_be_repeated(make: Made, database: Database) -> None:
    """After a first call whose data are kept, the same call with them returns nothing new to be kept."""
    driver, ref, connector = make(), volume(), {"host": "me", "initiator": INITIATOR}
    assert isinstance(driver, ConnectionDriver)
    driver.create_volume(ref, "op")
    backend = Backend("b", driver, ())
    for _ in range(2):
        returned = prepare_connection(database, backend, ref, connector)
        assert not {"initiator_updates", "initiator_update"} & set(returned)
    assert not driver.initialize_connection(ref, {"host": "me"}, None)


@pytest.mark.row("S076")
@_can("BackupDriver")
def test_a_driver_names_what_is_backed_up(make: Made) -> None:
    """The location of the volume, or of a snapshot and that it is one; what reads and writes is called once."""
    driver, ref, calls = make(), volume(), list[str]()
    assert isinstance(driver, BackupDriver)
    driver.create_volume(ref, "op")
    assert driver.get_backup_device(ref, None) == (driver.location(ref), False)
    if isinstance(driver, SnapshotDriver):
        snapshot = snapshot_of(ref)
        driver.create_snapshot(snapshot, "op")
        assert driver.get_backup_device(ref, snapshot) == (driver.snapshot_location(snapshot), True)
    driver.backup_volume(ref, lambda: calls.append("read"))
    driver.restore_backup(ref, lambda: calls.append("written"))
    assert calls == ["read", "written"]


@pytest.mark.row("S083")
@_can("ProviderInfoDriver")
def test_provider_ids_are_of_the_objects_named(make: Made) -> None:
    """The updates are of volumes and snapshots that were named, two lists, each entry with its id."""
    driver, ref = make(), volume()
    assert isinstance(driver, ProviderInfoDriver)
    driver.create_volume(ref, "op")
    of_volumes, of_snapshots = driver.update_provider_info([ref, volume()], [snapshot_of(ref)])
    assert {each["id"] for each in of_volumes} <= {ref.id}
    assert list(of_snapshots) == []


@pytest.mark.row("S077")
@_can("SecureFilesDriver")
def test_it_says_whether_owners_of_files_stay(make: Made) -> None:
    """One answer, whenever it is called."""
    driver = make()
    assert isinstance(driver, SecureFilesDriver)
    assert driver.secure_file_operations_enabled() is driver.secure_file_operations_enabled()


class Recorder(FileDriver):
    """Returns what the test planned, and keeps what it was called with."""

    planned: Any = None

    def initialize_connection(self, volume: VolumeRef, connector: Any, initiator_data: Any) -> Any:
        self.given = initiator_data
        return self.planned


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder("b", tmp_path / "pool")


def _connect(database: Database, driver: Recorder, returned: Any, **backend: Any) -> dict[str, Any]:
    driver.planned = returned
    connector = {"initiator": backend.pop("initiator", INITIATOR)}
    return prepare_connection(database, Backend(backend.pop("name", "b"), driver, (), **backend), volume(), connector)


@pytest.mark.row("S070")
@pytest.mark.parametrize("spelling", ["initiator_updates", "initiator_update"])
def test_what_a_driver_keeps_of_an_initiator_comes_back(database: Database, recorder: Recorder, spelling: str) -> None:
    """In either spelling (T2) values are set, replaced and removed, come with the next call and are in no reply."""
    assert _connect(database, recorder, {spelling: {"set_values": {"a": "1", "b": "2"}}, "discard": True}) == {
        "discard": True
    }
    assert recorder.given == {}
    _connect(database, recorder, {spelling: {"set_values": {"a": "3"}, "remove_values": ["b", "unknown"]}})
    assert recorder.given == {"a": "1", "b": "2"}
    assert _connect(database, recorder, None) == {}
    assert recorder.given == {"a": "3"}


@pytest.mark.row("S070")
def test_data_are_of_an_initiator_and_a_namespace(database: Database, recorder: Recorder) -> None:
    """The namespace is driver_data_namespace, else the backend's name; other initiators and namespaces see nothing of it."""
    _connect(database, recorder, {"initiator_updates": {"set_values": {"a": "1"}}})
    for other in ({"initiator": "iqn.2026-11.org.example:other"}, {"name": "c"}, {"driver_data_namespace": "array"}):
        _connect(database, recorder, {"initiator_updates": {"set_values": {"b": "2"}}}, **other)
        assert recorder.given == {}
    _connect(database, recorder, None, name="c", driver_data_namespace="array")
    assert recorder.given == {"b": "2"}
    _connect(database, recorder, None)
    assert recorder.given == {"a": "1"}


@pytest.mark.row("S070")
def test_without_an_initiator_nothing_is_kept(database: Database, recorder: Recorder) -> None:
    """Its data are None, and what the driver wants to keep is dropped; data that are no text are the driver's fault."""
    _connect(database, recorder, {"initiator_updates": {"set_values": {"a": "1"}}}, initiator=None)
    assert recorder.given is None
    with pytest.raises(errors.InternalError):
        _connect(database, recorder, {"initiator_updates": {"set_values": {"a": 1}}})


class Late(ProxyVD):
    """Finds its driver when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _get_driver(self) -> Any:
        if "driver" not in vars(self):
            self.driver = MemoryDriver("b", self._folder)
        return self.driver


@pytest.mark.row("S105")
def test_a_proxy_can_do_what_its_driver_can(tmp_path: Path) -> None:
    """It is a complete driver with the abilities, the name and the volumes of the one that it stands for."""
    proxy = ProxyVD()
    proxy.driver = MemoryDriver("b", tmp_path / "one")  # type: ignore[attr-defined]
    for each in (proxy, Late(tmp_path / "two")):
        driver: Driver = set_up(check_complete(each, "driver"))
        assert capabilities_of(driver) == capabilities_of(each._get_driver())
        assert class_name(driver) == "MemoryDriver"
        ref = volume()
        driver.create_volume(ref, "op")
        assert [found.id for found in driver.list_objects()] == [ref.id]


@pytest.mark.row("S105")
def test_a_proxy_without_a_driver_is_none(tmp_path: Path) -> None:
    """It is refused at the start, by the methods that it lacks, and has its own class's name."""
    assert ProxyVD()._get_driver() is None
    assert class_name(ProxyVD()) == "ProxyVD"
    assert class_name(FileDriver("b", tmp_path)) == "FileDriver"
    with pytest.raises(errors.ConfigError, match="create_volume"):
        check_complete(ProxyVD(), "driver")


@pytest.mark.row("S088")
def test_no_protocol_has_the_deprecated_replication_updates() -> None:
    """What Cinder deprecated, and has no driver implement, is no method here: statuses come by get_replication_status."""
    assert not hasattr(MemoryDriver, "get_replication_updates")
    assert not hasattr(Driver, "get_replication_updates")


@pytest.mark.row("S095")
@_can("TransferDriver")
def test_a_change_of_owner_may_be_repeated_and_taken_back(make: Made) -> None:
    """The same call again, after a restart too, returns the same; the call with the owner from before what it returned then."""
    driver, ref = make(), volume()
    assert isinstance(driver, TransferDriver)
    state = driver.create_volume(ref, "op")
    first = driver.accept_transfer(replace(ref, state=state), "u", "p")
    for kept, owner in ((state, "new"), (first, "new"), (first, "p"), (first, "p")):
        again = make()
        assert isinstance(again, TransferDriver)
        expected = driver.accept_transfer(replace(ref, state=first), "u", owner)
        assert again.accept_transfer(replace(ref, state=kept), "u", owner) == expected
    assert expected == first
    driver.delete_volume(ref)
