"""The contract of nbdsvc/driver/replication.py, over every driver that implements one of its protocols."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pools import PROTOCOLS_OF, SIZE, Made, implementing, put, set_up, volume

from drivers.memory import Faults
from drivers.memory_replicated import ReplicatedMemoryDriver
from nbdsvc import errors
from nbdsvc.driver import (
    DEFAULT_TARGET,
    Driver,
    ReplicaDriver,
    ReplicatedDriver,
    VolumeRef,
    capabilities_of,
    is_replicated,
    replication_columns,
)
from nbdsvc.model import names, states

REPLICATED = {"replication": "<is> True"}


def _can(*protocols: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", implementing(*protocols), indirect=True)


def _made(driver: Driver, content: bytes = b"before") -> VolumeRef:
    """A replicated volume with this at its begin, which is on the other site too."""
    ref = VolumeRef(names.new_id(), SIZE, "b", REPLICATED)
    state = driver.create_volume(ref, "op")
    assert state is not None
    assert state == driver.create_volume(ref, "op")
    assert state.replication is not None
    assert state.columns()["replication_status"] == "copying"
    put(driver, ref, 0, content)
    assert isinstance(driver, ReplicaDriver)
    _status(driver.get_replication_status(ref), "active")
    return ref


def _status(update: Mapping[str, Any], wanted: str) -> None:
    assert replication_columns(update)["replication_status"] == wanted, update


def _begin(driver: Driver, ref: VolumeRef) -> bytes:
    with driver.location(ref).path.open("rb") as file:
        return file.read(6)


@pytest.mark.row("S063", "S101")
def test_replication_is_what_is_set_up(make: Made, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A driver that implements it and has a target replicates; one without a target, or without the methods, does not."""
    name = request.node.callspec.params["make"]
    assert capabilities_of(make()).replication is ("ReplicaDriver" in PROTOCOLS_OF[name])
    alone = set_up(ReplicatedMemoryDriver("c", tmp_path / "alone"))
    assert not capabilities_of(alone).replication
    ref = VolumeRef(names.new_id(), SIZE, "c", REPLICATED)
    assert alone.create_volume(ref, "op") is None


@pytest.mark.row("S064", "S065", "S066", "S101", "S102", "S103")
@_can("ReplicaDriver")
def test_a_promoted_replica_is_the_volume(make: Made) -> None:
    """It has what was written before the last copy, is on hold until it is enabled again, and then is copied back."""
    driver = make()
    assert isinstance(driver, ReplicaDriver)
    ref = _made(driver)
    old = driver.location(ref)
    put(driver, ref, 0, b"lost! ")
    for _ in range(2):
        _status(driver.promote_replica(ref), "inactive")
    assert driver.location(ref) != old
    assert _begin(driver, ref) == _begin(make(), ref) == b"before"
    put(driver, ref, 0, b"after!")
    _status(driver.get_replication_status(ref), "inactive")
    assert old.path.read_bytes()[:6] == b"lost! "
    assert driver.reenable_replication(ref)["replication_status"] in states.REPLICA_STATUSES
    _status(driver.get_replication_status(ref), "active")
    driver.extend_volume(ref, 2 * SIZE)
    driver.promote_replica(ref)
    assert _begin(driver, ref) == b"after!"
    driver.delete_volume(ref)
    assert driver.list_objects() == []
    with pytest.raises(errors.ReplicationError):
        driver.get_replication_status(ref)


@pytest.mark.row("S104")
@_can("ReplicaDriver")
def test_a_test_volume_has_the_bytes_of_the_replica(make: Made) -> None:
    """What was written since the last copy is not in it, and the replica stays as it was; made twice it is one volume."""
    driver = make()
    assert isinstance(driver, ReplicaDriver)
    source, ref = _made(driver), volume()
    put(driver, source, 0, b"newer!")
    for _ in range(2):
        driver.create_replica_test_volume(ref, source, "op2")
    assert (_begin(driver, ref), _begin(driver, source)) == (b"before", b"newer!")
    put(driver, ref, 0, b"tested")
    driver.promote_replica(source)
    assert _begin(driver, source) == b"before"
    with pytest.raises(errors.ReplicationError):
        driver.create_replica_test_volume(volume(), ref, "op3")


@pytest.mark.row("S086")
@_can("ReplicatedDriver")
@pytest.mark.parametrize("target", [None, "far"])
def test_a_backend_fails_over_and_back(make: Made, target: str | None) -> None:
    """Repeated calls return the same; each update names a volume; volumes without a replica are errors until it is back."""
    driver = make()
    assert isinstance(driver, ReplicatedDriver)
    ref, alone = _made(driver), volume()
    driver.create_volume(alone, "op")
    put(driver, ref, 0, b"lost! ")
    driver.set_active_backend("")
    reached, updates = driver.failover_host([ref, alone], target)
    assert (reached, updates) == driver.failover_host([ref, alone], target)
    assert reached == (target or driver.replication_targets[0])
    driver.set_active_backend(reached)
    found = {each["volume_id"]: each["updates"] for each in updates}
    assert (found[alone.id]["status"], "status" in found[ref.id]) == ("error", False)
    _status(found[ref.id], "failed-over")
    assert _begin(driver, ref) == b"before"
    put(driver, ref, 0, b"after!")
    back, updates = driver.failover_host([ref, alone], DEFAULT_TARGET)
    driver.set_active_backend("")
    assert back == DEFAULT_TARGET
    assert all(each["updates"].get("status") == "available" for each in updates)
    assert _begin(driver, ref) == b"after!"


@pytest.mark.row("S086")
@_can("ReplicatedDriver")
def test_an_unknown_target_changes_nothing(make: Made) -> None:
    """It is InvalidReplicationTarget, and the volumes are where they were."""
    driver = make()
    assert isinstance(driver, ReplicatedDriver)
    ref = _made(driver)
    before = driver.location(ref)
    with pytest.raises(errors.InvalidReplicationTarget):
        driver.failover_host([ref], "nowhere")
    assert driver.location(ref) == before


@pytest.mark.row("S101")
@pytest.mark.parametrize("status", sorted(states.REPLICA_STATUSES - {"active"}))
def test_the_simulator_has_every_status(tmp_path: Path, status: str) -> None:
    """A planned status holds, and nothing is copied, until replication is enabled again."""
    driver = ReplicatedMemoryDriver("b", tmp_path / "p", replication_targets={"far": str(tmp_path / "far")})
    driver.do_setup()
    ref = _made(driver)
    Faults(tmp_path / "p", "b").plan({"replication": [{"returns": status, "times": 2}]})
    put(driver, ref, 0, b"after!")
    for _ in range(2):
        _status(driver.get_replication_status(ref), status)
    copy = tmp_path / "far" / "volumes" / f"volume-{ref.id}"
    assert copy.read_bytes()[:6] == b"before"
    driver.reenable_replication(ref)
    _status(driver.get_replication_status(ref), "active")
    assert copy.read_bytes()[:6] == b"after!"


@pytest.mark.row("S064", "S065")
@pytest.mark.parametrize("name", ["replication", "replication_enabled"])
@pytest.mark.parametrize("scope", ["", "capabilities:"])
def test_a_type_is_replicated_by_each_spelling(scope: str, name: str) -> None:
    """With and without the scope (T4), whatever the case and the blanks of the value."""
    assert is_replicated({scope + name: " <is> True "})
    assert is_replicated({scope + name: "<IS> true"})
    assert not is_replicated({scope + name: "<is> False"})
    assert not is_replicated({scope + name: "True"})
    assert not is_replicated({"other:" + name: "<is> True"})


@pytest.mark.row("S064", "S101")
def test_an_update_is_read_in_both_spellings() -> None:
    """`driver_data` is replication_driver_data (T4); other keys are none of the row's, and secrets are among these."""
    status = {"replication_status": "active"}
    for spelling in ("driver_data", "replication_driver_data"):
        wanted = {**status, "replication_driver_data": "x"}
        assert replication_columns({**status, spelling: "x", "provider_auth": "CHAP a b"}) == wanted
    for wrong in ({"replication_status": "odd"}, {"driver_data": {"a": 1}}):
        with pytest.raises(errors.InternalError):
            replication_columns(wrong)
