"""The contract of nbdsvc/driver/groups.py, over every driver that implements it."""

import pytest
from pools import SIZE, Made, implementing, put, volume

from nbdsvc.driver import Driver, GroupDriver, GroupRef, GroupSnapshotRef, SnapshotDriver, SnapshotRef, VolumeRef
from nbdsvc.model import names

pytestmark = pytest.mark.parametrize("make", implementing("GroupDriver"), indirect=True)


def made(make: Made, count: int = 2) -> tuple[Driver, GroupRef, list[VolumeRef]]:
    """A group with volumes, which begin with their number."""
    driver, group, volumes = make(), GroupRef(names.new_id(), {}), [volume() for _ in range(count)]
    assert isinstance(driver, GroupDriver)
    for _ in range(2):
        assert driver.create_consistencygroup(group) is None
    for index, each in enumerate(volumes):
        driver.create_volume(each, "op")
        put(driver, each, 0, bytes([index + 1]) * 8)
    for _ in range(2):
        assert driver.update_consistencygroup(group, volumes, ()) == (None, None, None)
    return driver, group, volumes


def snapshots(volumes: list[VolumeRef]) -> list[SnapshotRef]:
    return [SnapshotRef(names.new_id(), each.id, SIZE, each.pool) for each in volumes]


def begins(driver: Driver, ref: VolumeRef) -> bytes:
    with driver.location(ref).path.open("rb") as file:
        return file.read(8)


@pytest.mark.row("S091")
def test_the_life_of_a_group_is_idempotent(make: Made) -> None:
    """Each call twice: snapshots are made anew, new volumes are the same, and what is gone is success."""
    driver, group, volumes = made(make)
    assert isinstance(driver, GroupDriver)
    whole, taken = GroupSnapshotRef(names.new_id(), group), snapshots(volumes)
    driver.create_cgsnapshot(whole, taken, "op")
    put(driver, volumes[0], 0, b"changed.")
    driver.create_cgsnapshot(whole, taken, "op")
    assert isinstance(driver, SnapshotDriver)
    copies = [volume() for _ in volumes]
    for _ in range(2):
        driver.create_consistencygroup_from_src(GroupRef("g2", {}), copies, whole, taken, None, (), "op2")
    assert [begins(driver, each) for each in copies] == [b"changed.", b"\2" * 8]
    clones = [volume() for _ in volumes]
    for _ in range(2):
        driver.create_consistencygroup_from_src(GroupRef("g3", {}), clones, None, (), group, volumes, "op3")
    assert [begins(driver, each) for each in clones] == [b"changed.", b"\2" * 8]
    for _ in range(2):
        assert driver.delete_cgsnapshot(whole, taken) == (None, None)
    for each, of in ((group, volumes), (GroupRef("g2", {}), copies), (GroupRef("g3", {}), clones)):
        for _ in range(2):
            assert driver.delete_consistencygroup(each, of) == (None, None)
    assert [each.kind for each in driver.list_objects() if each.kind in ("volume", "snapshot")] == []


@pytest.mark.row("S112")
def test_volumes_leave(make: Made) -> None:
    """A volume that left is not deleted with the group."""
    driver, group, volumes = made(make)
    assert isinstance(driver, GroupDriver)
    driver.update_consistencygroup(group, (), volumes[:1])
    driver.delete_consistencygroup(group, volumes[1:])
    assert [each.id for each in driver.list_objects() if each.kind == "volume"] == [volumes[0].id]
