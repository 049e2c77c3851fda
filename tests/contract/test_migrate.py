"""The protocols of migration, over the drivers that implement them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pools import SIZE, mounted, put, set_up, volume

from drivers.file import FileDriver
from drivers.memory import MemoryDriver
from nbdsvc import errors
from nbdsvc.driver import MigratedDriver, MigrateDriver, ProviderState, VolumeCopyDriver, VolumeRef

Made = Callable[[], FileDriver]


@pytest.fixture(params=["file", "memory", "memory with ids"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Makes the driver with two pools of one file system, and again, as after a restart."""
    pools = {name: str(tmp_path / name) for name in "ab"}
    if request.param == "file":
        return lambda: FileDriver("fast", pools=pools)
    return lambda: MemoryDriver("fast", pools=pools, provider_ids="ids" in request.param)


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path, "xfs")


def _created(driver: FileDriver) -> VolumeRef:
    ref = volume(pool="a")
    ref = replace(ref, state=driver.create_volume(ref, "op"))
    put(driver, ref, 0, b"mine")
    return ref


@pytest.mark.row("S096")
def test_a_move_is_whole_and_may_be_repeated(make: Made) -> None:
    """The object keeps bytes, owner and state; the same call again is success, and the other way round takes it back."""
    driver = make()
    set_up(driver)
    assert isinstance(driver, MigrateDriver)
    here = _created(driver)
    there = replace(here, pool="b")
    owners = {found.owner for found in driver.list_objects()}
    for source, destination in ((here, there), (there, here)):
        for each in (driver, set_up(make())):
            assert isinstance(each, MigrateDriver)
            assert each.migrate_volume(source, destination) == (True, here.state)
        (found,) = driver.list_objects()
        assert (found.id, found.pool, {found.owner}) == (here.id, destination.pool, owners)
        assert driver.location(destination).path.read_bytes() == b"mine" + bytes(SIZE - 4)


@pytest.mark.row("S096")
def test_killed_between_its_two_halves(tmp_path: Path) -> None:
    """A file that has its name in both pools already is moved to its end."""
    driver = FileDriver("fast", pools={name: str(tmp_path / name) for name in "ab"})
    set_up(driver)
    here = _created(driver)
    there = replace(here, pool="b")
    (tmp_path / "b" / "volumes" / f"volume-{here.id}").hardlink_to(tmp_path / "a" / "volumes" / f"volume-{here.id}")
    assert driver.migrate_volume(here, there) == (True, None)
    assert [found.pool for found in driver.list_objects()] == ["b"]


@pytest.mark.row("S096")
def test_nothing_else_is_replaced_or_lost(make: Made) -> None:
    """Another object of the name is a Conflict, and one that is nowhere BackendUnavailable; both pools stay as they are."""
    driver = make()
    set_up(driver)
    here = _created(driver)
    there = replace(here, pool="b")
    other = driver.location(here).path
    foreign = other.parents[2] / "b" / "volumes" / other.name
    foreign.write_bytes(b"other")
    with pytest.raises(errors.Conflict, match="as another object"):
        driver.migrate_volume(here, there)
    assert (other.stat().st_size, foreign.read_bytes()) == (SIZE, b"other")
    foreign.unlink()
    driver.delete_volume(here)
    with pytest.raises(errors.BackendUnavailable):
        driver.migrate_volume(here, there)
    with pytest.raises(errors.BackendUnavailable, match="no pool gone"):
        driver.migrate_volume(here, replace(here, pool="gone"))


@pytest.mark.row("S085", "S096")
def test_what_it_cannot_move_stays(tmp_path: Path, xfs: Path) -> None:
    """To another file system it moves nothing, says so, and nothing has changed."""
    driver = FileDriver("fast", pools={"a": str(tmp_path / "a"), "b": str(xfs / "b")})
    set_up(driver)
    here = _created(driver)
    assert driver.migrate_volume(here, replace(here, pool="b")) == (False, None)
    assert [(found.id, found.pool) for found in driver.list_objects()] == [(here.id, "a")]
    assert driver.location(here).path.read_bytes()[:4] == b"mine"


@pytest.mark.row("S075", "S084")
def test_the_simulator_has_the_hooks(tmp_path: Path) -> None:
    """Calls before and after a copy may be repeated in any number; the state after a migration keeps the provider id."""
    driver = MemoryDriver("fast", pools={name: str(tmp_path / name) for name in "ab"}, provider_ids=True)
    set_up(driver)
    assert isinstance(driver, VolumeCopyDriver)
    assert isinstance(driver, MigratedDriver)
    here = _created(driver)
    there = replace(here, pool="b")
    for _ in range(2):
        driver.before_volume_copy(here, there, None)
    assert len(list(tmp_path.glob("*/copying/*"))) == 2
    for _ in range(2):
        driver.after_volume_copy(here, there, None)
    assert list(tmp_path.glob("*/copying/*")) == []
    driver.before_volume_copy(here, there, "dest")
    assert [path.parents[1].name for path in tmp_path.glob("*/copying/*")] == ["a"]
    assert here.state
    expected = ProviderState(here.state.provider_id, driver_data={"migrated_from": "a"})
    assert driver.update_migrated_volume(there, here) == expected
