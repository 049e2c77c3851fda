"""What only LVM can do wrong. Collected only where NBDSVC_TEST_VOLUME_GROUP names a group that the tests may use."""

import contextlib
import os
import time
from pathlib import Path

import pytest
from pools import Interrupted, lvm, snapshot_of, volume

from drivers.lvm import ThinDriver
from nbdsvc import errors
from nbdsvc.units import MiB

GROUP = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
POOL = f"{GROUP}/{GROUP}-pool"
SIZE = 8 * MiB


def make() -> ThinDriver:
    driver = ThinDriver("b", volume_group=GROUP)
    driver.do_setup()
    driver.check_for_setup_error()
    return driver


def put(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def test_a_missing_group_is_named() -> None:
    """check_for_setup_error names the group, and no verb makes one."""
    driver = ThinDriver("b", volume_group="unknown")
    driver.do_setup()
    for call in (
        driver.check_for_setup_error,
        driver.list_objects,
        lambda: driver.create_volume(volume(SIZE), "x"),
    ):
        with pytest.raises(errors.BackendUnavailable, match="unknown"):
            call()


def test_a_full_pool_fails_at_once_and_takes_nothing_more() -> None:
    """Writers get an error instead of a wait, the statistics leave no room, and what was written before is there."""
    make()
    assert lvm("lvs", "--noheadings", "-o", "lv_when_full", POOL) == "error"
    lvm("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "32m", "-n", "small", GROUP)
    lvm("lvchange", "-q", "--errorwhenfull", "y", f"{GROUP}/small")
    driver, ref = ThinDriver("b", volume_group=GROUP, pool_name="small"), volume(128 * MiB)
    try:
        driver.create_volume(ref, "op")
        put(driver.location(ref).path, b"before")
        os.sync()
        began = time.monotonic()
        fd = os.open(driver.location(ref).path, os.O_WRONLY)
        with pytest.raises(OSError, match="No space left|Input/output error"):
            for index in range(1, 128):
                os.pwrite(fd, os.urandom(MiB), index * MiB)
                os.fsync(fd)
        os.close(fd)
        print(f"error after {time.monotonic() - began:.1f} s")
        stats = driver.get_volume_stats(refresh=True)[0]
        assert (stats.free, stats.room()) == (0, 0)
        with driver.location(ref).path.open("rb") as file:
            assert file.read(6) == b"before"
    finally:
        driver.delete_volume(ref)
        lvm("lvremove", "-q", "-f", f"{GROUP}/small")


def test_a_strangers_volume_of_our_name() -> None:
    """It is a Conflict, and stays as it was."""
    driver, ref = make(), volume(SIZE)
    name = f"{GROUP}/volume-{ref.id}"
    lvm("lvcreate", "-q", "-y", "-V", "8m", "--thin", "-n", f"volume-{ref.id}", POOL)
    try:
        with pytest.raises(errors.Conflict, match="belongs to another"):
            driver.create_volume(ref, "op")
        assert [found.owner for found in driver.list_objects()] == [None]
    finally:
        lvm("lvremove", "-q", "-f", name)


def test_busy_is_said() -> None:
    """A volume that is open is DeviceBusy and stays."""
    driver, ref = make(), volume(SIZE)
    driver.create_volume(ref, "op")
    with driver.location(ref).path.open("rb"), pytest.raises(errors.DeviceBusy):
        driver.delete_volume(ref)
    assert driver.location(ref).path.exists()
    driver.delete_volume(ref)


@pytest.mark.parametrize("done", range(5))
def test_a_revert_that_was_interrupted_is_finished(done: int) -> None:
    """After any of its commands a repeat ends with the bytes of then, and nothing else is left."""
    driver, ref = make(), volume(SIZE)
    driver.create_volume(ref, "op")
    put(driver.location(ref).path, b"before")
    snapshot = snapshot_of(ref, SIZE)
    driver.create_snapshot(snapshot, "op2")
    put(driver.location(ref).path, b"after!")
    interrupted = ThinDriver("b", volume_group=GROUP, runner=Interrupted(done))
    with contextlib.suppress(errors.CommandFailed):
        interrupted.revert_to_snapshot(ref, snapshot, "op3")
    driver.revert_to_snapshot(ref, snapshot, "op3")
    assert driver.location(ref).path.read_bytes()[:6] == b"before"
    assert {(found.kind, found.owner) for found in driver.list_objects()} == {("volume", "op"), ("snapshot", "op2")}
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)
    assert driver.list_objects() == []
