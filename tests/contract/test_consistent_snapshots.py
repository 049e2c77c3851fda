"""The contract of ConsistentSnapshotDriver: snapshots of several volumes that are written to meanwhile are of one moment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ordered_writes import LocalWriter, number_in, of_one_moment
from pools import Made, implementing, snapshot_of, volume

from nbdsvc import errors
from nbdsvc.driver import ConsistentSnapshotDriver, Driver, SnapshotDriver, SnapshotRef, VolumeRef

VOLUMES, ROUNDS = 3, 6


class Writing:
    """Three volumes and their writer."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        assert isinstance(driver, ConsistentSnapshotDriver)
        assert isinstance(driver, SnapshotDriver)
        self.driver, self.volumes = driver, [volume() for _ in range(VOLUMES)]
        for each in self.volumes:
            driver.create_volume(each, "op")
        paths = [Path(driver.location(each).path) for each in self.volumes]
        held = [] if paths[0].is_block_device() else [folder / "pool" / "held" / each.id for each in self.volumes]
        self.writer = LocalWriter(paths, held)
        self.writer.start()
        self.writer.go_on()

    def new(self) -> list[SnapshotRef]:
        return [snapshot_of(each) for each in self.volumes]

    def numbers(self, taken: list[SnapshotRef]) -> list[int]:
        return [number_in(Path(self.driver.snapshot_location(each).path)) for each in taken]

    def take(self, taken: list[SnapshotRef]) -> None:
        self.driver.prepare_snapshots(taken, "op")
        self.writer.go_on()
        self.driver.take_snapshots(taken)
        self.writer.go_on()
        self.driver.finish_snapshots(taken)

    def remove(self, taken: list[SnapshotRef]) -> None:
        for each in taken:
            self.driver.delete_snapshot(each)


@pytest.fixture
def writing(make: Made, tmp_path: Path) -> Iterator[Writing]:
    made = Writing(make(), tmp_path)
    yield made
    made.writer.stop()
    for each in made.volumes:
        made.driver.delete_volume(each)


@pytest.mark.row("S041", "S108")
@pytest.mark.parametrize("make", implementing("ConsistentSnapshotDriver"), indirect=True)
def test_snapshots_are_of_one_moment(writing: Writing) -> None:
    """The moment is that of `take_snapshots`, and writers go on before, between and after; each is a snapshot like any other."""
    for _ in range(ROUNDS):
        taken, before = writing.new(), writing.writer.written
        writing.take(taken)
        numbers = writing.numbers(taken)
        assert of_one_moment(numbers), numbers
        assert max(numbers) > before + 50
        owners = {each.id: each.owner for each in writing.driver.list_objects() if each.kind == "snapshot"}
        assert owners == {each.id: "op" for each in taken}
        writing.remove(taken)


@pytest.mark.parametrize("make", implementing("ConsistentSnapshotDriver"), indirect=True)
def test_the_oracle_can_fail(writing: Writing) -> None:
    """Snapshots one after the other are of several moments."""
    taken = writing.new()
    for each in taken:
        writing.driver.create_snapshot(each, "op")
        writing.writer.go_on()
    assert not of_one_moment(writing.numbers(taken))
    writing.remove(taken)


@pytest.mark.row("S021")
@pytest.mark.parametrize("make", implementing("ConsistentSnapshotDriver"), indirect=True)
def test_what_a_kill_leaves_is_removed_and_taken_again(make: Made, writing: Writing) -> None:
    """After each of the calls, by a driver that was made anew."""
    for calls in range(3):
        taken = writing.new()
        writing.driver.prepare_snapshots(taken, "op")
        if calls > 0:
            writing.driver.take_snapshots(taken)
        if calls > 1:
            writing.driver.finish_snapshots(taken)
        writing.driver = make()  # type: ignore[assignment]
        writing.remove(taken)
        writing.take(taken)
        assert of_one_moment(writing.numbers(taken))
        writing.remove(taken)


@pytest.mark.parametrize("make", implementing("ConsistentSnapshotDriver"), indirect=True)
def test_a_volume_that_is_gone(writing: Writing) -> None:
    """It cannot be snapshotted, the others go on, and nothing is left."""
    gone: VolumeRef = volume()
    taken = [*writing.new(), snapshot_of(gone)]
    with pytest.raises(errors.BackendUnavailable):
        writing.driver.prepare_snapshots(taken, "op")
    writing.writer.go_on()
    writing.remove(taken)
    assert {each.kind for each in writing.driver.list_objects()} == {"volume"}
