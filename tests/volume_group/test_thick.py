"""Thick volumes on a real group: whose bytes are seen by whom, snapshots that run full, clearing that is killed."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pools import Interrupted, lvm, snapshot_of, volume

from drivers.lvm import ThickDriver
from drivers.lvm.clearing import Sweeper
from drivers.lvm.commands import Commands
from nbdsvc import errors
from nbdsvc.datapath.reconcile import reconcile
from nbdsvc.driver import VolumeRef
from nbdsvc.model import names
from nbdsvc.units import GiB, MiB

GROUP = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
SIZE = 16 * MiB
PATTERN = b"\xa5" * MiB


@pytest.fixture(autouse=True)
def empty_group() -> Iterator[None]:
    """All of the group is free before, and no LV is left behind."""
    lvm("lvremove", "-q", "-f", f"{GROUP}/{GROUP}-pool", check=False)
    yield
    left = lvm("lvs", "-a", "--noheadings", "-o", "lv_name", GROUP).split()
    for name in left:
        lvm("lvremove", "-q", "-f", f"{GROUP}/{name}", check=False)
    assert left == []


def make(**options: Any) -> ThickDriver:
    driver = ThickDriver("b", volume_group=GROUP, **{"clearing": "none", **options})
    driver.do_setup()
    driver.check_for_setup_error()
    return driver


def written(driver: ThickDriver, size: int = SIZE) -> VolumeRef:
    """A volume that is full of the pattern."""
    ref = volume(size)
    driver.create_volume(ref, "op")
    fill(driver.location(ref).path, 0, size)
    return ref


def fill(path: Path, offset: int, length: int, content: bytes = PATTERN) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        for _ in range(length // len(content)):
            file.write(content)
        os.fsync(file.fileno())


def extents(path: Path) -> list[str]:
    return lvm("lvs", "--noheadings", "--segments", "-o", "seg_pe_ranges", str(path)).split()


def test_a_new_volume_shows_nobodys_bytes() -> None:
    """A volume on the very extents that another one had filled and left uncleared reads as zeros."""
    driver = make()
    first = written(driver)
    taken = extents(driver.location(first).path)
    driver.delete_volume(first)
    second = volume(SIZE)
    driver.create_volume(second, "op2")
    assert extents(driver.location(second).path) == taken
    assert driver.location(second).path.read_bytes() == bytes(SIZE)
    driver.delete_volume(second)


def test_growth_shows_nobodys_bytes() -> None:
    """A volume that grows onto extents that another one had filled reads zeros there, and keeps what it had."""
    driver = make()
    first, second = written(driver), written(driver)
    taken = extents(driver.location(second).path)
    driver.delete_volume(second)
    driver.extend_volume(first, 2 * SIZE)
    start, end = extents(driver.location(first).path)[0].rpartition(":")[2].split("-")
    begin = int(taken[0].rpartition(":")[2].split("-")[0])
    assert int(start) < begin <= int(end)
    assert driver.location(first).path.read_bytes() == PATTERN * 16 + bytes(SIZE)
    driver.delete_volume(first)


@pytest.mark.parametrize("done", range(3))
def test_killed_while_creating(done: int) -> None:
    """After any of its commands there is no volume of that name, or one of zeros; a repeat ends with zeros."""
    driver = make()
    driver.delete_volume(written(driver))
    ref = volume(SIZE)
    interrupted = ThickDriver("b", volume_group=GROUP, runner=Interrupted(done))
    with contextlib.suppress(errors.CommandFailed):
        interrupted.create_volume(ref, "op")
    assert driver.location(ref).path.exists() == (done == 2)
    driver.create_volume(ref, "op")
    assert driver.location(ref).path.read_bytes() == bytes(SIZE)
    driver.delete_volume(ref)


@pytest.mark.parametrize("done", range(5))
def test_killed_while_growing(done: int) -> None:
    """After any of its commands the volume is whole; a repeat ends with the new size and zeros, and nothing else."""
    driver = make()
    ref = written(driver)
    interrupted = ThickDriver("b", volume_group=GROUP, runner=Interrupted(done))
    with contextlib.suppress(errors.CommandFailed):
        interrupted.extend_volume(ref, 2 * SIZE)
    driver.extend_volume(ref, 2 * SIZE)
    assert driver.location(ref).path.read_bytes() == PATTERN * 16 + bytes(SIZE)
    driver.delete_volume(ref)


def test_a_deleted_volume_is_zeroed_from_its_end_and_goes_on_after_a_kill() -> None:
    """Delete is a rename; a sweep that was killed leaves a shorter LV; the next one ends it; the disk has only zeros."""
    driver = make()
    ref = written(driver)
    disk, first = extents(driver.location(ref).path)[0].split(":")
    where = pe_start(disk) + int(first.split("-")[0]) * 4 * MiB
    assert raw(disk, where) == PATTERN * 16
    trash = f"nbdsvc-trash-volume-{ref.id}"
    lvm("lvrename", GROUP, f"volume-{ref.id}", trash)  # as a deletion does, whose sweeper is too fast to be killed
    killed = Sweeper(Commands(GROUP, "b", Interrupted(2)), "zero", cut=4 * MiB)
    killed.sweep()
    assert lvm("lvs", "--noheadings", "--units", "m", "--nosuffix", "-o", "lv_size", f"{GROUP}/{trash}") == "8.00"
    assert driver.list_objects() == []
    again = make(clearing="zero")  # the new driver finds at its start what is left
    assert again.sweepers[0].wait(60)
    assert raw(disk, where) == bytes(SIZE)


@pytest.mark.parametrize("policy", ["none", "discard", "zero"])
def test_each_policy_removes_it(policy: str) -> None:
    """Gone for its user at once and from the group soon; a snapshot's changes too."""
    driver = make(clearing=policy)
    ref = written(driver)
    snapshot = snapshot_of(ref)
    driver.create_snapshot(snapshot, "op2")
    fill(driver.location(ref).path, 0, MiB, b"\x5a" * MiB)
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)
    assert not driver.location(ref).path.exists()
    assert driver.list_objects() == []
    for _ in range(2):
        driver.sweepers[0].start()
        assert driver.sweepers[0].wait(60)


def test_busy_is_said() -> None:
    """A volume that is open, or that has snapshots, is DeviceBusy and stays under its name."""
    driver = make(clearing="zero")
    ref = written(driver)
    with driver.location(ref).path.open("rb"), pytest.raises(errors.DeviceBusy, match="open"):
        driver.delete_volume(ref)
    snapshot = snapshot_of(ref)
    driver.create_snapshot(snapshot, "op2")
    with pytest.raises(errors.DeviceBusy, match="snapshots"):
        driver.delete_volume(ref)
    with driver.location(ref).path.open("rb"), pytest.raises(errors.DeviceBusy, match="while it is not in use"):
        driver.extend_volume(ref, 2 * SIZE)
    driver.extend_volume(ref, 2 * SIZE)
    assert driver.location(ref).path.read_bytes() == PATTERN * 16 + bytes(SIZE)
    with driver.snapshot_location(snapshot).path.open("rb") as file:
        assert file.read() == PATTERN * 16
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)
    assert driver.sweepers[0].wait(60)


def test_a_snapshot_without_room_is_refused() -> None:
    """OutOfSpace says what it needs, by which setting, and what is free; nothing is made."""
    driver = make(snapshot_percent=100)
    ref = written(driver)
    free = driver.get_volume_stats(refresh=True)[0].free
    lvm("lvcreate", "-q", "-y", "-L", f"{free - 8 * MiB}b", "-n", "rest", GROUP)
    with pytest.raises(
        errors.OutOfSpace, match=r"needs room for 16\.0 MiB .*snapshot_percent = 100.* 8\.0 MiB are free"
    ):
        driver.create_snapshot(snapshot_of(ref), "op2")
    assert {found.kind for found in driver.list_objects()} == {"volume", "other"}
    lvm("lvremove", "-q", "-f", f"{GROUP}/rest")
    driver.delete_volume(ref)


def test_a_snapshot_that_runs_full_says_so() -> None:
    """Its object has a fault, reading it fails, the volume goes on; and it can be deleted."""
    driver = make(snapshot_percent=1, autoextend_percent=0)
    ref, snapshot = written(driver), None
    snapshot = snapshot_of(ref)
    driver.create_snapshot(snapshot, "op2")
    fill(driver.location(ref).path, 0, 12 * MiB, b"\x5a" * MiB)
    driver.watch()
    faults = {found.kind: found.fault for found in driver.list_objects()}
    assert faults == {"volume": "", "snapshot": "the room for its volume's changes ran out"}
    with driver.snapshot_location(snapshot).path.open("rb") as file, pytest.raises(OSError, match="Input/output"):
        file.read(SIZE)
    assert driver.location(ref).path.read_bytes() == b"\x5a" * 12 * MiB + PATTERN * 4
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)


def test_a_snapshot_that_is_watched_does_not_run_full() -> None:
    """It grows before it is full, and keeps the bytes of then while the whole volume changes."""
    driver = make(snapshot_percent=30, autoextend_threshold=40, autoextend_percent=100)
    ref = written(driver)
    snapshot = snapshot_of(ref)
    driver.create_snapshot(snapshot, "op2")
    for offset in range(0, SIZE, 2 * MiB):
        fill(driver.location(ref).path, offset, 2 * MiB, b"\x5a" * MiB)
        driver.watch()
    assert [found.fault for found in driver.list_objects()] == ["", ""]
    assert driver.snapshot_location(snapshot).path.read_bytes() == PATTERN * 16
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)


@pytest.mark.row("S094")
def test_reverting_needs_no_room_in_the_snapshot() -> None:
    """A volume gets the bytes of then by writing what differs, and the snapshot is as full as before."""
    driver = make(snapshot_percent=30, autoextend_percent=0)
    ref = written(driver)
    snapshot = snapshot_of(ref)
    driver.create_snapshot(snapshot, "op2")
    fill(driver.location(ref).path, 5 * MiB, 3 * MiB, b"\x5a" * MiB)
    used = ["lvs", "--noheadings", "-o", "snap_percent", str(driver.snapshot_location(snapshot).path)]
    before = lvm(*used)
    done = reconcile(
        driver.snapshot_location(snapshot).path,
        driver.location(ref).path,
        SIZE,
        lambda _done, _total, _data: None,
        lambda: False,
    )
    assert done == 3 * MiB
    assert lvm(*used) == before
    assert (
        driver.location(ref).path.read_bytes() == driver.snapshot_location(snapshot).path.read_bytes() == PATTERN * 16
    )
    driver.delete_snapshot(snapshot)
    driver.delete_volume(ref)


@pytest.mark.row("S100")
def test_a_classic_snapshot_is_taken_over() -> None:
    """Of a volume of ours only; a thin volume of the same group is refused by name of the reason."""
    driver = make()
    ref = volume(GiB)
    driver.create_volume(ref, "op")
    lvm("lvcreate", "-q", "-y", "-s", "-L", "64m", "-n", "monday", f"{GROUP}/volume-{ref.id}")
    fields, snapshot = {"source-name": "monday"}, snapshot_of(ref, GiB)
    listed = driver.get_manageable_snapshots()
    assert [(each.reference, each.size, each.source) for each in listed] == [
        (fields, GiB, {"source-name": f"volume-{ref.id}"})
    ]
    with pytest.raises(errors.InvalidInput, match="it is no snapshot of"):
        driver.manage_existing_snapshot(replace(snapshot, volume_id=names.new_id()), fields, "op2")
    driver.manage_existing_snapshot(snapshot, fields, "op2")
    assert driver.snapshot_location(snapshot).path.exists()
    driver.delete_snapshot(snapshot)
    lvm("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "64m", "-n", "pool2", GROUP)
    lvm("lvcreate", "-q", "-y", "-V", "8m", "--thin", "-n", "thin", f"{GROUP}/pool2")
    with pytest.raises(errors.InvalidInput, match="no LV with extents of its own"):
        driver.manage_existing(volume(GiB), {"source-name": "thin"}, "op3")
    lvm("lvremove", "-q", "-f", f"{GROUP}/pool2")
    driver.delete_volume(ref)


def raw(disk: str, where: int) -> bytes:
    """What is on the disk there, past every cache."""
    argv = [
        "dd",
        f"if={disk}",
        "bs=1M",
        "iflag=direct,skip_bytes",
        f"skip={where}",
        f"count={SIZE // MiB}",
        "status=none",
    ]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def pe_start(disk: str) -> int:
    return int(lvm("pvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start", disk))
