"""The contract of nbdsvc/driver/, over every driver."""

import math
import os
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pools import (
    FOLDERS,
    INSTANT_CLONES,
    PROTOCOLS_OF,
    SIZE,
    THICK_SNAPSHOTS,
    Made,
    put,
    set_up,
    snapshot_of,
    tells_the_truth,
    volume,
)

from drivers.file import FileDriver
from drivers.memory import MemoryDriver
from nbdsvc import driver as contract
from nbdsvc import errors
from nbdsvc.driver import Driver, SnapshotRef, VolumeRef
from nbdsvc.model import names
from nbdsvc.units import GiB, MiB


@pytest.mark.row("S061", "S062", "S005", "S079")
def test_it_sets_up_and_says_what_it_is(make: Made) -> None:
    """Setting up twice is fine; version, capabilities and default functions are there."""
    driver = make()
    assert isinstance(make(), Driver)
    assert driver.get_version()
    assert driver.facts == make().facts
    assert driver.get_filter_function() is None
    assert driver.get_goodness_function() is None


@pytest.mark.row("S064", "S065", "S009", "S093")
def test_create_and_delete_are_idempotent(make: Made) -> None:
    """Repeating with the same owner is success; another owner is a conflict; deleting twice is success."""
    driver, ref = make(), volume()
    for again in (driver, make()):
        again.create_volume(ref, "op1")
    path = driver.location(ref).path
    assert path.name == f"volume-{ref.id}"
    assert path.read_bytes() == bytes(SIZE)
    put(driver, ref, 0, b"mine")
    with pytest.raises(errors.Conflict):
        driver.create_volume(ref, "op2")
    assert path.read_bytes()[:4] == b"mine"
    for _ in range(2):
        driver.delete_volume(ref)
    assert not path.exists()
    assert driver.list_objects() == []


@pytest.mark.row("S093")
def test_a_location_says_what_is_there(make: Made) -> None:
    """Its scheme is that of the file or device, and the same before the volume is made and after it is deleted."""
    driver, ref = make(), volume()
    before = driver.location(ref)
    driver.create_volume(ref, "op")
    assert make().location(ref) == before
    assert tells_the_truth(before)
    driver.delete_volume(ref)
    assert driver.location(ref) == before


@pytest.mark.row("S092")
def test_extend_keeps_bytes_and_adds_zeros(make: Made) -> None:
    """Growing keeps what is there, adds zeros, and never shrinks."""
    driver, ref = make(), volume()
    driver.create_volume(ref, "op")
    put(driver, ref, SIZE - 3, b"end")
    for size in (2 * SIZE, 2 * SIZE, SIZE):
        driver.extend_volume(ref, size)
    assert driver.location(ref).path.read_bytes() == bytes(SIZE - 3) + b"end" + bytes(SIZE)


def test_backends_are_what_the_tests_take_them_for(make: Made, request: pytest.FixtureRequest) -> None:
    """Which protocols a driver implements, and whether it shares blocks, decides which of these tests it has to pass."""
    name, able = request.node.callspec.params["make"], contract.capabilities_of(make())
    assert able.protocols == PROTOCOLS_OF[name]
    instant = (name in INSTANT_CLONES, name in [*INSTANT_CLONES, *THICK_SNAPSHOTS], name in INSTANT_CLONES)
    assert (able.instant_clone, able.instant_snapshot, able.instant_revert) == instant


@pytest.mark.row("S063", "S080", "S020")
def test_statistics_are_truthful(make: Made) -> None:
    """Provisioned, allocated and counted follow what is made; refresh measures anew."""
    driver = make()
    before = driver.get_volume_stats(refresh=True)[0]
    ref = volume(64 * MiB)
    driver.create_volume(ref, "op")
    put(driver, ref, 0, os.urandom(2 * MiB))
    os.sync()
    after = driver.get_volume_stats(refresh=True)[0]
    assert (after.volumes, after.provisioned) == (before.volumes + 1, before.provisioned + 64 * MiB)
    # LVM reports what is used in hundredths of a per cent of the pool.
    taken = after.allocated - before.allocated
    assert (MiB <= taken < 8 * MiB) if driver.facts.thin else taken == 64 * MiB
    assert after.room() <= before.room()
    assert driver.get_pool(ref) == after.name == "b"
    assert driver.get_volume_stats()[0] == after


def test_room_follows_reserve_and_over_subscription() -> None:
    """Thin pools promise total times ratio less what is promised; thick ones what is free; both less the reserve."""
    thin = contract.PoolStats("p", 100 * GiB, 50 * GiB, 30 * GiB, 0, 1, 10, 2.0)
    assert thin.room() == 150 * GiB
    assert contract.PoolStats("p", 100 * GiB, 50 * GiB, 0, 0, 1, 10, 2.0, thin=False).room() == 40 * GiB
    assert contract.PoolStats("p", 100 * GiB, 5 * GiB, 0, 0, 1, 10, 2.0).room() == 0
    assert contract.PoolStats("p", 100 * GiB, 5 * GiB, 0, 0, 1, 0, math.inf).room() == math.inf


@pytest.mark.parametrize("make", FOLDERS, indirect=True)
@pytest.mark.row("S061", "S006", "S022")
def test_vanished_pool_is_said_and_never_made_anew(make: Made, tmp_path: Path) -> None:
    """A pool that is gone is BackendUnavailable for every verb, and no empty one takes its place."""
    driver, ref = make(), volume()
    driver.create_volume(ref, "op")
    pool = driver.location(ref).path.parents[1]
    (pool / ".nbdsvc-pool").rename(pool / "elsewhere")
    for call in (driver.check_for_setup_error, driver.list_objects, lambda: driver.get_volume_stats(True),
                 lambda: driver.create_volume(volume(), "x"), lambda: driver.delete_volume(ref),
                 lambda: driver.extend_volume(ref, 2 * SIZE)):  # fmt: skip
        with pytest.raises(errors.BackendUnavailable):
            call()
    assert driver.location(ref).path.exists()


def test_a_folder_with_strange_files_is_no_pool(tmp_path: Path) -> None:
    """Setting up in a folder with other files is a ConfigError that names one of them."""
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "thesis.doc").touch()
    with pytest.raises(errors.ConfigError, match=r"thesis\.doc"):
        FileDriver("b", tmp_path / "pool").do_setup()


@pytest.mark.parametrize("make", FOLDERS, indirect=True)
def test_killed_while_making_leaves_nothing_that_a_repeat_or_delete_does_not_remove(make: Made) -> None:
    """An object that was begun under the same owner is finished by a repeated call, or removed by a delete."""
    driver, ref = make(), volume()
    new = driver.location(ref).path.parents[1] / "new"
    (new / f"volume-{ref.id}.op.1").write_bytes(b"half")
    driver.create_volume(ref, "op")
    assert driver.location(ref).path.read_bytes() == bytes(SIZE)
    # The state after a kill when the object had both its name and its temporary name.
    os.link(driver.location(ref).path, new / f"volume-{ref.id}.op.1")
    os.link(driver.location(ref).path, new / f"volume-{ref.id}.op")  # by an older version
    driver.create_volume(ref, "op")
    assert list(new.iterdir()) == []
    (driver.location(ref).path.parents[1] / "new" / f"volume-{ref.id}.other").write_bytes(b"half")
    driver.delete_volume(ref)
    assert list((driver.location(ref).path.parents[1] / "new").iterdir()) == []


@pytest.mark.row("S078")
def test_functions_are_the_operators(tmp_path: Path) -> None:
    """Filter and goodness functions are what the operator set."""
    driver = FileDriver("b", tmp_path / "p", filter_function="volume.size < 10", goodness_function="50")
    assert (driver.get_filter_function(), driver.get_goodness_function()) == ("volume.size < 10", "50")


@pytest.mark.row("S005")
def test_a_driver_of_another_package_is_found(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A driver that another distribution offers by entry point is loaded by its name; an unknown name is a ConfigError."""
    import sys

    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nbdsvc.drivers]\nother = other_driver:Other\n")
    (tmp_path / "other_driver.py").write_text(
        "from drivers.file import FileDriver\nclass Other(FileDriver):\n    VERSION = '7'\n"
    )
    sys.path.insert(0, str(tmp_path))
    request.addfinalizer(lambda: sys.path.remove(str(tmp_path)))
    assert contract.load("other")("b", pool=tmp_path / "p").VERSION == "7"
    with pytest.raises(errors.ConfigError, match="installed are: fake, file, lvm, memory"):
        contract.load("nothing")


class DriverMachine(RuleBasedStateMachine):
    """Volumes and snapshots of the simulator against a model of their bytes."""

    folder: Path

    @initialize()
    def start(self) -> None:
        self.driver = set_up(MemoryDriver("b", self.folder / names.new_id()))
        self.volumes: dict[VolumeRef, bytearray] = {}
        self.snapshots: dict[SnapshotRef, bytes] = {}

    @rule(size=st.integers(1, 5))
    def create(self, size: int) -> None:
        ref = volume(size * 4096)
        self.driver.create_volume(ref, "op")
        self.volumes[ref] = bytearray(ref.size)

    @rule(data=st.data(), content=st.binary(min_size=1, max_size=64))
    def write(self, data: st.DataObject, content: bytes) -> None:
        if self.volumes:
            ref = data.draw(st.sampled_from(list(self.volumes)))
            offset = data.draw(st.integers(0, len(self.volumes[ref]) - len(content)))
            put(self.driver, ref, offset, content)
            self.volumes[ref][offset : offset + len(content)] = content

    @rule(data=st.data())
    def snapshot(self, data: st.DataObject) -> None:
        if self.volumes:
            ref = data.draw(st.sampled_from(list(self.volumes)))
            made = snapshot_of(ref, len(self.volumes[ref]))
            self.driver.create_snapshot(made, "op")
            self.snapshots[made] = bytes(self.volumes[ref])

    @rule(data=st.data(), more=st.integers(0, 3))
    def restore(self, data: st.DataObject, more: int) -> None:
        if self.snapshots:
            snapshot = data.draw(st.sampled_from(list(self.snapshots)))
            ref = volume(snapshot.size + more * 4096)
            self.driver.create_volume_from_snapshot(ref, snapshot, "op")
            self.volumes[ref] = bytearray(self.snapshots[snapshot].ljust(ref.size, b"\0"))

    @rule(data=st.data(), more=st.integers(0, 3))
    def extend(self, data: st.DataObject, more: int) -> None:
        if self.volumes:
            ref = data.draw(st.sampled_from(list(self.volumes)))
            size = len(self.volumes[ref]) + more * 4096
            self.driver.extend_volume(ref, size)
            self.volumes[ref] = bytearray(bytes(self.volumes[ref]).ljust(size, b"\0"))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.volumes:
            ref = data.draw(st.sampled_from(list(self.volumes)))
            self.driver.delete_volume(ref)
            del self.volumes[ref]

    @invariant()
    def bytes_are_as_the_model_says(self) -> None:
        for ref, content in getattr(self, "volumes", {}).items():
            assert self.driver.location(ref).path.read_bytes() == content
        for snapshot, taken in getattr(self, "snapshots", {}).items():
            assert self.driver.snapshot_location(snapshot).path.read_bytes() == taken


def test_driver_against_a_model_of_its_bytes(tmp_path: Path) -> None:
    """Any sequence of verbs leaves the bytes that the model has."""
    from hypothesis import settings

    machine = type("Machine", (DriverMachine,), {"folder": tmp_path})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=20))
