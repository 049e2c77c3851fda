"""A driver with several pools: each a place of its own, and what befalls one stops no other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pools import SIZE, put, set_up, snapshot_of, volume

from drivers.file import FileDriver
from drivers.memory import MemoryDriver
from nbdsvc import errors
from nbdsvc.driver import Driver
from nbdsvc.units import GiB

POOLS = ("a", "b", "c")
Make = Callable[[], Driver]


@pytest.fixture(params=[(FileDriver, 2), (FileDriver, 3), (MemoryDriver, 2), (MemoryDriver, 3)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    kind, count = request.param
    return lambda: set_up(kind("fast", pools={name: str(tmp_path / name) for name in POOLS[:count]}))


@pytest.mark.row("S080", "S063")
def test_each_pool_is_reported(make: Make, tmp_path: Path) -> None:
    """Statistics have one entry for each pool, with what is in it; get_pool is the pool of the volume."""
    driver = make()
    refs = [volume(pool="a"), volume(pool="a"), volume(pool="b")]
    for ref in refs:
        driver.create_volume(ref, "op")
    stats = {pool.name: pool.volumes for pool in driver.get_volume_stats(refresh=True)}
    assert {name: count for name, count in stats.items() if name != "c"} == {"a": 2, "b": 1}
    assert [driver.get_pool(ref) for ref in refs] == ["a", "a", "b"]
    assert {(found.id, found.pool) for found in driver.list_objects()} == {(ref.id, ref.pool) for ref in refs}


def test_one_id_in_two_pools_never_mixes(make: Make) -> None:
    """The same id in two pools is two volumes: bytes, size and deletion of the one leave the other as it is."""
    driver, first = make(), volume(pool="a")
    second = replace(first, pool="b")
    for ref, owner, content in ((first, "op1", b"first"), (second, "op2", b"second")):
        driver.create_volume(ref, owner)
        put(driver, ref, 0, content)
    driver.extend_volume(second, 2 * SIZE)
    snapshot = snapshot_of(first)
    driver.create_snapshot(snapshot, "op3")
    assert driver.location(first).path.read_bytes() == b"first" + bytes(SIZE - 5)
    driver.delete_volume(first)
    assert driver.location(second).path.read_bytes() == b"second" + bytes(2 * SIZE - 6)
    assert {(found.kind, found.pool) for found in driver.list_objects()} == {("snapshot", "a"), ("volume", "b")}
    driver.delete_snapshot(replace(snapshot, pool="b"))  # not in this pool, which is success: the snapshot stays
    assert driver.snapshot_location(snapshot).path.exists()


def test_blocks_are_shared_within_a_pool(make: Make) -> None:
    """A clone, a volume of a snapshot or a revert over two pools is Unsupported, and makes nothing."""
    driver, source = make(), volume(pool="a")
    driver.create_volume(source, "op")
    snapshot, other = snapshot_of(source), volume(pool="b")
    driver.create_snapshot(snapshot, "op")
    for call in (lambda: driver.create_cloned_volume(other, source, "op2"),
                 lambda: driver.create_volume_from_snapshot(other, snapshot, "op2"),
                 lambda: driver.revert_to_snapshot(replace(source, pool="b"), snapshot, "op2")):  # fmt: skip
        with pytest.raises(errors.Unsupported, match="share no blocks"):
            call()
    assert {found.pool for found in driver.list_objects()} == {"a"}


def test_a_pool_that_there_is_not(make: Make) -> None:
    """A volume of a pool that the settings do not name any more is BackendUnavailable, with the pools that there are."""
    driver = make()
    with pytest.raises(errors.BackendUnavailable, match="no pool gone, but a, b"):
        driver.location(volume(pool="gone"))


@pytest.mark.row("S022")
def test_a_sick_pool_stops_no_other(make: Make, tmp_path: Path) -> None:
    """A pool that is gone has its reason in its statistics and in every error; the others work, and it comes back by itself."""
    driver = make()
    lost, well = volume(pool="a"), volume(pool="b")
    driver.create_volume(lost, "op")
    (tmp_path / "a").rename(tmp_path / "away")
    driver.check_for_setup_error()
    driver.watch()
    driver.create_volume(well, "op")
    assert [found.pool for found in driver.list_objects()] == ["b"]
    assert {each.pool for each in driver.get_manageable_volumes()} == {"b"}
    stats = {pool.name: pool for pool in driver.get_volume_stats(refresh=True)}
    assert ("fast#a is unavailable" in stats["a"].fault, stats["a"].room(), stats["b"].fault) == (True, 0, "")
    assert stats["b"].room() > 0
    for call in (lambda: driver.create_volume(volume(pool="a"), "op"), lambda: driver.extend_volume(lost, 2 * SIZE),
                 lambda: driver.delete_volume(lost), lambda: driver.get_manageable_volumes("a"),
                 lambda: driver.check_room("a", 1)):  # fmt: skip
        with pytest.raises(errors.BackendUnavailable, match="fast#a"):
            call()
    (tmp_path / "away").rename(tmp_path / "a")
    assert {pool.fault for pool in driver.get_volume_stats(refresh=True)} == {""}
    assert driver.location(lost).path.exists()


def test_without_any_pool_the_backend_is_down(make: Make, tmp_path: Path) -> None:
    """Where no pool can serve, the check and the statistics raise the first one's error."""
    driver = make()
    for name in POOLS:
        if (tmp_path / name).exists():
            (tmp_path / name).rename(tmp_path / f"away-{name}")
    for call in (driver.check_for_setup_error, driver.list_objects, lambda: driver.get_volume_stats(True)):
        with pytest.raises(errors.BackendUnavailable, match="fast#a"):
            call()


def test_a_pool_that_comes_later_is_set_up(tmp_path: Path) -> None:
    """A folder that could not be used at the start is a pool as soon as it can be."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.doc").touch()
    driver = set_up(FileDriver("fast", pools={name: str(tmp_path / name) for name in "ab"}))
    faults = {pool.name: pool.fault for pool in driver.get_volume_stats(refresh=True)}
    assert (faults["a"], "thesis.doc" in faults["b"]) == ("", True)
    (tmp_path / "b" / "thesis.doc").unlink()
    driver.check_for_setup_error()
    driver.create_volume(volume(pool="b"), "op")


def test_objects_are_managed_where_they_are(make: Make, tmp_path: Path) -> None:
    """An object is named within the pool of the volume; lists are of one pool or of all, and say which."""
    driver = make()
    for pool in "ab":
        (tmp_path / pool / "volumes" / "theirs").write_bytes(pool.encode())
    reference = {"source-name": "theirs"}
    assert {(each.pool, each.reference["source-name"]) for each in driver.get_manageable_volumes()} == {
        ("a", "theirs"),
        ("b", "theirs"),
    }
    assert [each.pool for each in driver.get_manageable_volumes("b")] == ["b"]
    ref = volume(GiB, pool="b")
    assert driver.manage_existing_get_size(ref, reference) == GiB
    driver.manage_existing(ref, reference, "op")
    with driver.location(ref).path.open("rb") as file:
        assert file.read(1) == b"b"
    assert (tmp_path / "a" / "volumes" / "theirs").read_bytes() == b"a"


def test_room_is_the_pools(tmp_path: Path) -> None:
    """A full pool takes no more bytes, and another of its backend does."""
    folders = {name: str(tmp_path / name) for name in "ab"}
    driver = set_up(MemoryDriver("fast", pools=folders, capacity={"a": GiB, "b": 8 * GiB}))
    assert [pool.total for pool in driver.get_volume_stats(refresh=True)] == [GiB, 8 * GiB]
    driver.check_room("b", 2 * GiB)
    with pytest.raises(errors.OutOfSpace, match="fast#a"):
        driver.check_room("a", 2 * GiB)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"pools": {}}, "pools"),
        ({"pools": "/srv"}, "pools"),
        ({"pools": {"": "/srv"}}, "pools."),
        ({"pools": {"a@b": "/srv"}}, "pools.a@b"),
        ({"pools": {"a#b": "/srv"}}, "pools.a#b"),
        ({"pools": {"a/b": "/srv"}}, "pools.a/b"),
        ({"pools": {"a": ""}}, "pools.a"),
        ({"pools": {"a": 5}}, "pools.a"),
        ({"pools": {"a": "/srv"}, "pool": "/srv"}, "pool"),
        ({}, "pool"),
    ],
)
def test_wrong_pools_are_named(options: dict[str, object], setting: str) -> None:
    """No pool, a name that host@backend#pool cannot have, a pool without a place, or both settings: a ConfigError names it."""
    with pytest.raises(errors.ConfigError) as caught:
        FileDriver("fast", **options)  # type: ignore[arg-type]
    assert caught.value.setting == setting
