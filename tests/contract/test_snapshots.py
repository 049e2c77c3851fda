"""The contract of nbdsvc/driver/snapshots.py, over every driver that implements one of its protocols."""

import os
import threading

import pytest
from pools import (
    COPIED_SNAPSHOTS,
    INSTANT_CLONES,
    SIZE,
    THICK_SNAPSHOTS,
    Made,
    implementing,
    put,
    snapshot_of,
    tells_the_truth,
    volume,
)

from nbdsvc import errors
from nbdsvc.driver import Driver, SnapshotRef, VolumeRef


def _can(names_of: list[str]) -> pytest.MarkDecorator:
    """The test runs over these backends, which are those that can do what it is about."""
    return pytest.mark.parametrize("make", names_of, indirect=True)


def _snapshotted(driver: Driver) -> tuple[VolumeRef, SnapshotRef]:
    """A volume that was written before its snapshot, taken twice, and after it."""
    ref = volume()
    driver.create_volume(ref, "op")
    put(driver, ref, 0, b"before")
    snapshot = snapshot_of(ref, SIZE)
    for _ in range(2):
        driver.create_snapshot(snapshot, "op2")
    assert driver.snapshot_location(snapshot).path.name == f"_snapshot-{snapshot.id}"
    assert tells_the_truth(driver.snapshot_location(snapshot))
    put(driver, ref, 0, b"after!")
    return ref, snapshot


@pytest.mark.row("S094")
@_can(implementing("SnapshotDriver"))
def test_a_snapshot_goes_and_leaves_its_volume(make: Made) -> None:
    """It is listed with its volume's id and its owner; another owner is a conflict; deleted twice, only the volume is left."""
    driver = make()
    ref, snapshot = _snapshotted(driver)
    found = {each.kind: each for each in driver.list_objects()}
    assert (found["snapshot"].id, found["snapshot"].origin, found["snapshot"].owner) == (snapshot.id, ref.id, "op2")
    with pytest.raises(errors.Conflict):
        driver.create_snapshot(snapshot, "op3")
    for _ in range(2):
        driver.delete_snapshot(snapshot)
    assert [(each.kind, each.id) for each in driver.list_objects()] == [("volume", ref.id)]
    assert driver.location(ref).path.read_bytes()[:6] == b"after!"


@pytest.mark.row("S094")
@_can(COPIED_SNAPSHOTS)
def test_a_snapshot_that_is_copied_begins_as_zeros(make: Made) -> None:
    """It is an object of the volume's size that reads as zeros, to be filled by a copy."""
    driver = make()
    _ref, snapshot = _snapshotted(driver)
    assert driver.snapshot_location(snapshot).path.read_bytes() == bytes(SIZE)


@pytest.mark.row("S094", "S066")
@_can(INSTANT_CLONES)
def test_snapshots_and_clones_share_no_fate(make: Made) -> None:
    """A snapshot is a point in time; it and volumes made of it live on without their origin."""
    driver = make()
    ref, snapshot = _snapshotted(driver)
    assert driver.snapshot_location(snapshot).path.read_bytes() == b"before" + bytes(SIZE - 6)
    restored, clone = volume(2 * SIZE), volume()
    driver.create_volume_from_snapshot(restored, snapshot, "op3")
    driver.create_cloned_volume(clone, ref, "op4")
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)
    assert driver.location(restored).path.read_bytes() == b"before" + bytes(2 * SIZE - 6)
    assert driver.location(clone).path.read_bytes()[:6] == b"after!"


if THICK_SNAPSHOTS:

    @pytest.mark.row("S094")
    @_can(THICK_SNAPSHOTS)
    def test_a_volume_with_classic_snapshots_stays(make: Made) -> None:
        """The snapshot is a point in time, and its volume is busy while it is there."""
        driver = make()
        ref, snapshot = _snapshotted(driver)
        assert driver.snapshot_location(snapshot).path.read_bytes() == b"before" + bytes(SIZE - 6)
        with pytest.raises(errors.DeviceBusy, match="snapshots"):
            driver.delete_volume(ref)
        for _ in range(2):
            driver.delete_snapshot(snapshot)
        assert driver.location(ref).path.read_bytes()[:6] == b"after!"


@pytest.mark.row("S094")
@_can(INSTANT_CLONES)
def test_revert_gives_the_bytes_of_then(make: Made) -> None:
    """All bytes are those of the snapshot, the owner stays, repeating is success, and both go on independently."""
    driver, ref = make(), volume()
    driver.create_volume(ref, "op")
    put(driver, ref, 0, b"before")
    snapshot = snapshot_of(ref, SIZE)
    driver.create_snapshot(snapshot, "op2")
    put(driver, ref, 3, b"after")
    for _ in range(2):
        driver.revert_to_snapshot(ref, snapshot, "op3")
    assert driver.location(ref).path.read_bytes() == b"before" + bytes(SIZE - 6)
    put(driver, ref, 0, b"later!")
    assert driver.snapshot_location(snapshot).path.read_bytes()[:6] == b"before"
    assert {found.owner for found in driver.list_objects()} == {"op", "op2"}
    driver.delete_snapshot(snapshot)
    with pytest.raises(errors.BackendUnavailable, match="not in the pool"):
        driver.revert_to_snapshot(ref, snapshot, "op4")
    assert driver.location(ref).path.read_bytes()[:6] == b"later!"


@_can([name for name in (*INSTANT_CLONES, *THICK_SNAPSHOTS) if not name.startswith("memory")])
def test_snapshot_under_a_writer_is_a_point_in_time(make: Made) -> None:
    """What was written before the snapshot is in it; a writer that goes on is seen as a prefix of its writes."""
    driver, ref = make(), volume()
    driver.create_volume(ref, "op")
    ended = threading.Event()

    def write() -> None:
        fd = os.open(driver.location(ref).path, os.O_WRONLY)
        for index in range(SIZE // 4096):
            os.pwrite(fd, b"\1" * 4096, index * 4096)
            if ended.is_set():
                break
        os.close(fd)

    writer = threading.Thread(target=write)
    writer.start()
    snapshot = snapshot_of(ref, SIZE)
    driver.create_snapshot(snapshot, "op2")
    ended.set()
    writer.join()
    content = driver.snapshot_location(snapshot).path.read_bytes()
    written = content.count(b"\1")
    assert content == b"\1" * written + bytes(SIZE - written)
