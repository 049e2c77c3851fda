"""A rule for everything around the volumes that is known to go wrong with LVM, each on real devices."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pools import lvm, snapshot_of, volume

from drivers.lvm import LvmBase, ThinDriver, make
from drivers.lvm.one_moment import pool_device
from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.units import MiB

GROUP = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
OWN = "rulesgroup"
SIZE = 8 * MiB
Disks = Callable[[], str]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disks]:
    """Makes loop devices of 256 MiB that a test may ruin."""
    made: list[str] = []

    def make() -> str:
        image = tmp_path / f"disk{len(made)}"
        with image.open("wb") as file:
            file.truncate(256 * MiB)
        made.append(lvm("losetup", "--show", "-f", str(image)))
        return made[-1]

    yield make
    for name in (OWN, "guest"):
        lvm("vgchange", "-q", "-an", name, check=False)
        lvm("vgremove", "-q", "-f", "-y", name, check=False)
    for device in made:
        lvm("losetup", "-d", device, check=False)


def driver_of(group: str, **options: object) -> LvmBase:
    return make("b", volume_group=group, **options)


def ready(driver: LvmBase) -> LvmBase:
    driver.do_setup()
    driver.check_for_setup_error()
    return driver


def pool_field(group: str, field: str) -> str:
    return lvm("lvs", "--noheadings", "--units", "m", "--nosuffix", "-o", field, f"{group}/{group}-pool")


@pytest.mark.row("S006", "S061", "S021")
def test_a_group_that_appears_late(disk: Disks) -> None:
    """Not there: said by name. There, though nothing activated it: all volumes are active, with their bytes."""
    device = disk()
    driver = driver_of(OWN)
    driver.do_setup()
    with pytest.raises(errors.BackendUnavailable, match=OWN):
        driver.check_for_setup_error()
    lvm("vgcreate", "-q", OWN, device)
    ready(driver)
    ref = volume(SIZE)
    driver.create_volume(ref, "op")
    driver.location(ref).path.write_bytes(b"bytes")
    os.sync()
    lvm("vgchange", "-q", "-an", OWN)
    assert not driver.location(ref).path.exists()
    ready(driver_of(OWN))
    with driver.location(ref).path.open("rb") as file:
        assert file.read(5) == b"bytes"


def test_a_missing_disk_is_said(disk: Disks) -> None:
    """A group that lost one of its disks serves nothing, and the reason is named; with it, it serves again."""
    one, two = disk(), disk()
    lvm("vgcreate", "-q", OWN, one, two)
    driver = ready(driver_of(OWN))
    lvm("vgchange", "-q", "-an", OWN)
    backing = lvm("losetup", "-n", "-O", "BACK-FILE", two)
    lvm("losetup", "-d", two)
    for call in (driver.check_for_setup_error, driver.watch):
        with pytest.raises(errors.BackendUnavailable, match="1 disks of volume group rulesgroup are missing"):
            call()
    lvm("losetup", two, backing)
    ready(driver)


def test_a_pool_without_metadata_serves_again_when_its_group_has_room(disk: Disks) -> None:
    """dm-thin makes such a pool read-only, and the backend is down, with the reason; the driver gives it what the group has."""
    lvm("vgcreate", "-q", OWN, disk())
    driver = ready(driver_of(OWN, metadata_threshold=0.0))
    driver.create_volume(volume(SIZE), "op")  # without a volume, LVM keeps no device for the pool
    pool = f"{OWN}-{OWN}--pool-tpool"
    # A table can ask for what the kernel does when the last block is taken; the eighth field counts the words behind it.
    table = lvm("dmsetup", "table", pool).split()
    table[7:8] = [str(int(table[7]) + 1), "read_only"]
    lvm("dmsetup", "suspend", pool)
    lvm("dmsetup", "load", pool, "--table", " ".join(table))
    lvm("dmsetup", "resume", pool)
    assert pool_field(OWN, "lv_health_status") == "metadata_read_only"
    with pytest.raises(errors.BackendUnavailable, match="pool rulesgroup-pool has read-only metadata"):
        driver_of(OWN, autoextend_percent=0).check_for_setup_error()
    ready(driver)
    assert pool_field(OWN, "lv_health_status") == ""
    driver.create_volume(volume(SIZE), "op2")


def test_a_volume_left_suspended_goes_on() -> None:
    """What a killed command left suspended is resumed when the driver looks."""
    driver = ready(driver_of(GROUP))
    ref = volume(SIZE)
    driver.create_volume(ref, "op")
    device = f"{GROUP.replace('-', '--')}-volume--{ref.id.replace('-', '--')}"
    lvm("dmsetup", "suspend", device)
    assert "SUSPENDED" in lvm("dmsetup", "info", device)
    driver.watch()
    assert "ACTIVE" in lvm("dmsetup", "info", device)
    driver.delete_volume(ref)


@pytest.mark.row("S021")
def test_a_snapshot_that_was_interrupted_keeps_nothing_from_work() -> None:
    """Its device in the pool was deleted and not made again, as by a power cut: it cannot be activated. Others are, the backend
    reports, and the snapshot is removed and taken again."""
    driver = ready(driver_of(GROUP))
    assert isinstance(driver, ThinDriver)
    kept, origin = volume(SIZE), volume(SIZE)
    for each in (kept, origin):
        driver.create_volume(each, "op")
    taken = snapshot_of(origin)
    driver.prepare_snapshots([taken], "op")
    name = names.snapshot_name(taken.id)
    number = lvm("lvs", "--noheadings", "-o", "thin_id", f"{GROUP}/{name}")
    lvm("dmsetup", "message", pool_device(GROUP, f"{GROUP}-pool"), "0", f"delete {number}")
    lvm("lvchange", "-an", f"{GROUP}/volume-{kept.id}")
    again = ready(driver_of(GROUP))
    assert again.get_volume_stats(refresh=True)
    assert driver.location(kept).path.exists()
    assert isinstance(again, ThinDriver)
    with pytest.raises(errors.Conflict, match="is no thin snapshot of"):
        again.take_snapshots([replace(taken, volume_id=kept.id)])
    again.take_snapshots([taken])  # of the same number
    again.finish_snapshots([taken])
    assert again.snapshot_location(taken).path.exists()
    lvm("lvchange", "-an", f"{GROUP}/{name}")
    lvm("dmsetup", "message", pool_device(GROUP, f"{GROUP}-pool"), "0", f"delete {number}")
    again.delete_snapshot(taken)
    for each in (kept, origin):
        again.delete_volume(each)
    assert again.list_objects() == []


def test_a_snapshot_with_the_skip_flag_is_taken_over_active() -> None:
    """LVM gives thin snapshots a flag that keeps them from being activated; what is ours is active, also after a boot."""
    driver = ready(driver_of(GROUP))
    ref, taken = volume(SIZE), volume(SIZE)
    driver.create_volume(ref, "op")
    lvm("lvcreate", "-q", "-y", "-s", "-n", "theirs", f"{GROUP}/volume-{ref.id}")
    driver.unmanage(ref)
    assert lvm("lvs", "--noheadings", "-o", "lv_attr", f"{GROUP}/theirs")[9] == "k"
    driver.manage_existing(taken, {"source-name": "theirs"}, "op2")
    assert lvm("lvs", "--noheadings", "-o", "lv_attr", f"{GROUP}/volume-{taken.id}")[9] == "-"
    lvm("vgchange", "-q", "-an", GROUP)
    ready(driver)
    assert driver.location(taken).path.exists()
    driver.delete_volume(taken)
    driver.manage_existing(replace(volume(SIZE), id=taken.id), {"source-name": f"volume-{ref.id}"}, "op3")
    driver.delete_volume(taken)


def test_a_group_inside_a_volume_is_none_of_ours(tmp_path: Path) -> None:
    """A guest that makes a volume group of our group's name in its volume changes nothing for us."""
    driver = ready(driver_of(GROUP))
    ref = volume(64 * MiB)
    driver.create_volume(ref, "op")
    # A guest has a /dev of its own; in ours the group's folder is there.
    inside = ["--config", f'devices{{scan_lvs=1 dir="{tmp_path}"}}', "--devices", str(driver.location(ref).path)]
    lvm("vgcreate", "-q", *inside, GROUP, str(driver.location(ref).path))
    lvm("lvcreate", "-q", "-an", "-Zn", *inside, "-L", "8m", "-n", "guests", GROUP)
    assert "guests" in lvm("lvs", *inside, GROUP)
    assert [found.name for found in driver.list_objects()] == [f"volume-{ref.id}"]
    driver.watch()
    other = volume(SIZE)
    driver.create_volume(other, "op2")
    for each in (ref, other):
        driver.delete_volume(each)
    assert driver.list_objects() == []


def test_only_named_disks_are_looked_at(disk: Disks) -> None:
    """With `devices`, a group on another disk is not there; one on the named disks is served."""
    one, two = disk(), disk()
    lvm("vgcreate", "-q", OWN, one)
    with pytest.raises(errors.BackendUnavailable, match="there is no volume group"):
        ready(driver_of(OWN, devices=[two]))
    driver = ready(driver_of(OWN, devices=[one]))
    ref = volume(SIZE)
    driver.create_volume(ref, "op")
    driver.extend_volume(ref, 2 * SIZE)
    assert driver.location(ref).path.read_bytes() == bytes(2 * SIZE)
    driver.delete_volume(ref)


def test_an_existing_pool_is_mended(disk: Disks) -> None:
    """A pool that an administrator made to queue when full, and not to zero, fails when full and zeroes from the next start on."""
    lvm("vgcreate", "-q", OWN, disk())
    lvm("lvcreate", "-q", "-y", "--type", "thin-pool", "-Zn", "-L", "64m", "-n", f"{OWN}-pool", OWN)
    assert (pool_field(OWN, "lv_when_full"), pool_field(OWN, "zero")) == ("queue", "")
    driver = driver_of(OWN)
    for _ in range(2):
        ready(driver)
    assert (pool_field(OWN, "lv_when_full"), pool_field(OWN, "zero")) == ("error", "zero")


def test_a_pool_that_fills_grows(disk: Disks) -> None:
    """Its data and its metadata, where the group has room; statistics follow, and writers see no error."""
    lvm("vgcreate", "-q", OWN, disk())
    lvm(
        "lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "32m", "--poolmetadatasize", "4m", "-n", f"{OWN}-pool", OWN
    )
    driver = ready(driver_of(OWN, autoextend_threshold=50, autoextend_percent=50, metadata_threshold=1))
    ref = volume(128 * MiB)
    driver.create_volume(ref, "op")
    before = driver.get_volume_stats(refresh=True)[0]
    assert before.metadata_percent
    assert before.metadata_percent > 1
    with driver.location(ref).path.open("r+b") as file:
        for _ in range(4):
            file.write(os.urandom(12 * MiB))
            os.fsync(file.fileno())
            driver.watch()
    after = driver.get_volume_stats(refresh=True)[0]
    assert after.total > 48 * MiB > before.total == 32 * MiB
    assert float(pool_field(OWN, "lv_metadata_size")) > 4
    assert 47 * MiB <= after.allocated <= 50 * MiB


def test_what_would_overrun_a_pool_is_not_begun(disk: Disks) -> None:
    """Metadata beyond the limit: no room, and no new volume, snapshot or clone; a copy larger than what is free neither."""
    lvm("vgcreate", "-q", OWN, disk())
    driver = ready(driver_of(OWN))
    ref = volume(SIZE)
    driver.create_volume(ref, "op")
    with pytest.raises(errors.OutOfSpace, match=r"10\.0 GiB are to be written"):
        driver.check_room("b", 10 << 30)
    full = driver_of(OWN, metadata_refusal=1)
    assert full.get_volume_stats(refresh=True)[0].room() == 0
    for call in (lambda: full.create_volume(volume(SIZE), "op2"),
                 lambda: full.create_cloned_volume(volume(SIZE), ref, "op2")):  # fmt: skip
        with pytest.raises(errors.OutOfSpace, match="metadata of rulesgroup-pool is .* full"):
            call()
    assert [found.owner for found in driver.list_objects()] == ["op"]
    full.create_volume(ref, "op")


def test_a_crashing_command_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An lvcreate that dies of SIGSEGV before it did anything, and one after: one volume, and no error."""
    real = subprocess.run(["sh", "-c", "command -v lvcreate"], capture_output=True, text=True).stdout.strip()
    for order in (f"kill -SEGV $$; {real}", f'{real} "$@"; kill -SEGV $$'):
        died = tmp_path / f"died{len(order)}"
        program = tmp_path / "lvcreate"
        program.write_text(f'#!/bin/sh\n[ -e {died} ] || {{ touch {died}; {order}; }}\nexec {real} "$@"\n')
        program.chmod(0o755)
        driver = ready(driver_of(GROUP))
        ref = volume(SIZE)
        with monkeypatch.context() as patched:
            patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            driver.create_volume(ref, "op")
        assert died.exists()
        assert [found.owner for found in driver.list_objects()] == ["op"]
        driver.delete_volume(ref)
