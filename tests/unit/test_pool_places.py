"""Where pools are, and that no two are in one place."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from drivers.file import FileDriver
from drivers.lvm import ThickDriver, ThinDriver
from nbdsvc import errors
from nbdsvc.backends.places import Places
from nbdsvc.driver import Driver
from nbdsvc.process import Completed, Runner

UUIDS: dict[str, str | None] = {"cinder-volumes": None, "g": "uuid-g", "h": "uuid-h", "missing": None}


class _Groups(Runner):
    """Answers vgs for the groups of UUIDS."""

    def run(self, argv: Sequence[str], **_options: Any) -> Completed:
        name = argv[-1]
        if argv[0] != "vgs" or UUIDS[name] is None:
            raise errors.CommandFailed(argv=list(argv), rc=5, stderr=f'Volume group "{name}" not found')
        row = {"vg_name": name, "vg_size": 1, "vg_free": 1, "vg_extent_size": 1, "vg_missing_pv_count": 0,
               "vg_uuid": UUIDS[name]}  # fmt: skip
        return Completed(json.dumps({"report": [{"vg": [row]}]}), "", 0)


def _thin(name: str, **pools: str) -> Driver:
    return ThinDriver(name, pools=pools, runner=_Groups())


def _thick(name: str, **pools: str) -> Driver:
    return ThickDriver(name, pools=pools, runner=_Groups())


def _folders(name: str, **pools: Path) -> Driver:
    return FileDriver(name, pools={each: str(folder) for each, folder in pools.items()})


def test_pools_in_places_of_their_own(tmp_path: Path) -> None:
    """Folders side by side, and groups and thin pools that differ, are all taken; a start that is repeated takes them again."""
    places = Places()
    drivers = [_folders("f", a=tmp_path / "a", b=tmp_path / "ab"), _thin("t", a="g/one", b="g/two", c="missing"),
               _thick("k", a="h")]  # fmt: skip
    for _ in range(2):
        for driver in drivers:
            places.take(driver.name, driver)


def test_one_folder_under_two_names(tmp_path: Path) -> None:
    """Two pools of one backend or of two in one folder, by another path or a link too, are a ConfigError that names both."""
    folder = tmp_path / "a"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    for other in (folder, tmp_path / "link", tmp_path / "b" / ".." / "a", folder / "inside", tmp_path):
        with pytest.raises(errors.ConfigError, match=r"backends\.one: its pool y .*pool x of backend one"):
            Places().take("one", _folders("one", x=folder, y=other))
        places = Places()
        places.take("one", _folders("one", x=folder))
        with pytest.raises(errors.ConfigError, match=r"backends\.two: its pool y .*pool x of backend one"):
            places.take("two", _folders("two", y=other))


def test_a_folder_that_is_mounted_twice_is_one(tmp_path: Path) -> None:
    """What another path leads to is known by its inode, also where neither path is a link."""
    (tmp_path / "a").mkdir()
    known = FileDriver("b", tmp_path / "a").pool_places()["b"]
    assert f"inode {(tmp_path / 'a').stat().st_dev}:{(tmp_path / 'a').stat().st_ino}" in known


def test_one_thin_pool_or_group_twice() -> None:
    """Two pools in one thin pool, or in one group of thick volumes, are a ConfigError; GROUP is the thin pool GROUP-pool."""
    for first, second in ((_thin("t", a="g"), _thin("u", b="g/g-pool")), (_thick("k", a="h"), _thick("l", b="h"))):
        places = Places()
        places.take(first.name, first)
        with pytest.raises(errors.ConfigError, match="its pool b is the same as pool a"):
            places.take(second.name, second)
    with pytest.raises(errors.ConfigError, match="its pool b is the same as pool a of backend t"):
        Places().take("t", _thin("t", a="missing/x", b="missing/x"))


@pytest.mark.parametrize(
    ("make", "options", "setting"),
    [
        (ThinDriver, {"pools": {"a": "g/x/y"}}, "pools.a"),
        (ThinDriver, {"pools": {"a": "/x"}}, "pools.a"),
        (ThinDriver, {"pools": {"a": "g/"}}, "pools.a"),
        (ThickDriver, {"pools": {"a": "g/thin"}}, "pools.a"),
        (ThinDriver, {"pools": {"a": "g"}, "volume_group": "g"}, "volume_group"),
        (ThinDriver, {"pools": {"a": "g"}, "pool_name": "x"}, "pool_name"),
        (ThickDriver, {"pools": {}}, "pools"),
    ],
)
def test_wrong_pools_of_lvm_are_named(make: Any, options: dict[str, Any], setting: str) -> None:
    """What is neither a group nor GROUP/POOL, a thin pool for thick volumes, or two settings for one: a ConfigError names it."""
    with pytest.raises(errors.ConfigError) as caught:
        make("fast", **options)
    assert caught.value.setting == setting


def test_a_single_group_is_as_ever() -> None:
    """Without `pools` a backend has one pool of its own name: cinder-volumes or volume_group, and there GROUP-pool or pool_name."""
    for driver, path in (
        (ThinDriver("b", runner=_Groups()), "lvm cinder-volumes/cinder-volumes-pool"),
        (ThinDriver("b", volume_group="g", pool_name="p", runner=_Groups()), "lvm g/p"),
        (ThickDriver("b", volume_group="h", runner=_Groups()), "lvm h"),
    ):
        (places,) = driver.pool_places().items()
        assert (places[0], path in places[1]) == ("b", True)
