"""Several thin pools and volume groups in one backend, on a simulated LVM: which commands go where."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pools import set_up, snapshot_of, volume

from drivers.lvm import ThickDriver, ThinDriver
from nbdsvc import errors
from nbdsvc.backends.places import Places
from nbdsvc.location import Location
from nbdsvc.process import Completed, Runner
from nbdsvc.units import GiB, MiB

_LETTERS = {"pool": "twi-aotz--", "thin": "Vwi-a-tz--", "plain": "-wi-a-----"}


class _Lvm(Runner):
    """Groups `g` and `h` with their LVs: as much of LVM as thin volumes need. `gone`: groups whose disks are away."""

    def __init__(self) -> None:
        super().__init__()
        self.lvs: dict[str, dict[str, dict[str, str]]] = {"g": {}, "h": {}}
        self.gone: set[str] = set()
        self.changes: list[list[str]] = []
        for group, name in (("g", "one"), ("g", "two"), ("h", "one")):
            self.add(group, name, "pool")

    def add(self, group: str, name: str, kind: str, pool: str = "", tags: str = "", size: int = 10 * GiB) -> None:
        self.lvs[group][name] = {
            "lv_name": name, "lv_size": str(size), "pool_lv": pool, "origin": "", "origin_size": "", "lv_tags": tags,
            "lv_attr": _LETTERS[kind], "data_percent": "1", "metadata_percent": "1", "lv_metadata_size": str(MiB),
            "lv_when_full": "error", "zero": "zero",
        }  # fmt: skip

    def run(self, argv: Sequence[str], **_options: Any) -> Completed:
        group, _, name = argv[-1].partition("/")
        if group in self.gone:
            raise errors.CommandFailed(argv=list(argv), rc=5, stderr=f'Volume group "{group}" not found')
        report: dict[str, Any] = {}
        if argv[0] == "vgs":
            row = {"vg_name": group, "vg_size": 20 * GiB, "vg_free": GiB, "vg_extent_size": 4 * MiB,
                   "vg_missing_pv_count": 0, "vg_uuid": f"uuid-{group}"}  # fmt: skip
            report = {"vg": [row]}
        elif argv[0] == "lvs":
            report = {"lv": [lv for lv in self.lvs[group].values() if _selected(argv, lv["lv_name"])]}
        else:
            self._change(argv, group, name)
        return Completed(json.dumps({"report": [report]}), "", 0)

    def _change(self, argv: Sequence[str], group: str, name: str) -> None:
        given = dict(pairwise(argv))
        self.changes.append([argv[0], f"{group}/{name}"])
        if argv[0] == "lvcreate":
            pool = name if "--thin" in argv else self.lvs[group][name]["pool_lv"]
            self.add(group, given["--name"], "thin", pool, given["--addtag"])
        elif argv[0] == "lvremove":
            del self.lvs[group][name]


def _selected(argv: Sequence[str], name: str) -> bool:
    return "--select" not in argv or f'"{name}"' in argv[list(argv).index("--select") + 1]


@pytest.fixture
def lvm() -> _Lvm:
    return _Lvm()


@pytest.fixture
def driver(lvm: _Lvm) -> ThinDriver:
    made = ThinDriver("fast", pools={"a": "g/one", "b": "g/two", "c": "h/one"}, runner=lvm)
    set_up(made)
    return made


def test_each_volume_is_made_in_its_thin_pool(lvm: _Lvm, driver: ThinDriver) -> None:
    """Volumes, snapshots and deletions go to the group and thin pool that the reference names."""
    refs = {pool: volume(pool=pool) for pool in "abc"}
    for ref in refs.values():
        driver.create_volume(ref, "op")
        driver.create_snapshot(snapshot_of(ref), "op")
    made = [(group, lv["pool_lv"]) for group in "gh" for lv in lvm.lvs[group].values() if lv["lv_tags"]]
    assert sorted(made) == [("g", "one")] * 2 + [("g", "two")] * 2 + [("h", "one")] * 2
    assert driver.location(refs["c"]) == Location.block(Path(f"/dev/h/volume-{refs['c'].id}"))
    assert {(found.id, found.pool) for found in driver.list_objects() if found.kind == "volume"} == {
        (ref.id, pool) for pool, ref in refs.items()
    }
    assert {each.name: each.volumes for each in driver.get_volume_stats(refresh=True)} == {"a": 1, "b": 1, "c": 1}
    driver.delete_volume(refs["b"])
    assert lvm.changes[-1] == ["lvremove", f"g/volume-{refs['b'].id}"]


def test_thin_pools_of_one_group_are_kept_apart(lvm: _Lvm, driver: ThinDriver) -> None:
    """A volume that is in another thin pool of the group is not found, not deleted and not served."""
    ref = volume(pool="a")
    driver.create_volume(ref, "op")
    moved = replace(ref, pool="b")
    changes = list(lvm.changes)
    driver.delete_volume(moved)
    assert lvm.changes == changes
    for call in (lambda: driver.location(moved), lambda: driver.extend_volume(moved, 20 * GiB),
                 lambda: driver.create_snapshot(snapshot_of(moved), "op")):  # fmt: skip
        with pytest.raises(errors.BackendUnavailable, match="not in the pool"):
            call()
    assert driver.location(ref) == Location.block(Path(f"/dev/g/volume-{ref.id}"))


def test_backends_in_one_group_see_only_their_own(lvm: _Lvm) -> None:
    """Three backends have two thin pools and the thick volumes of one group: each lists, finds and deletes its own LVs alone."""
    drivers = {"one": ThinDriver("one", pools={"x": "g/one"}, runner=lvm), "two": ThinDriver("two", pools={"x": "g/two"}, runner=lvm),
               "thick": ThickDriver("thick", pools={"x": "g"}, runner=lvm)}  # fmt: skip
    places = Places()
    for name, driver in drivers.items():
        set_up(driver)
        places.take(name, driver)
    refs = {name: volume(pool="x") for name in drivers}
    for name in ("one", "two"):
        drivers[name].create_volume(refs[name], "op")
    lvm.add("g", f"volume-{refs['thick'].id}", "plain", tags="nbdsvc.owner=op")
    for name, driver in drivers.items():
        assert [each.id for each in driver.list_objects() if each.kind == "volume"] == [refs[name].id], name
        managed = [each.id for each in driver.get_manageable_volumes() if each.reason == "it is managed already"]
        assert managed == [refs[name].id], name
    before = list(lvm.changes)
    drivers["one"].delete_volume(refs["two"])
    assert lvm.changes == before


def test_what_is_in_no_pool_of_the_backend_is_listed_once(lvm: _Lvm, driver: ThinDriver) -> None:
    """An LV of the group that is in none of the backend's thin pools is listed with the first one, and not fit for it."""
    lvm.add("g", "theirs", "plain")
    lvm.add("g", "fits", "thin", pool="two")
    found = {each.reference["source-name"]: each for each in driver.get_manageable_volumes()}
    assert {name: each.pool for name, each in found.items()} == {"theirs": "a", "fits": "b"}
    assert (found["fits"].reason, found["theirs"].reason) == ("", "it is no thin volume of pool one")
    assert [each.reference["source-name"] for each in driver.get_manageable_volumes("b")] == ["fits"]


def test_a_group_that_is_gone_stops_no_other(lvm: _Lvm, driver: ThinDriver) -> None:
    """Its pool has a reason in the statistics and in errors; the pools of the other group serve."""
    lvm.gone.add("h")
    driver.check_for_setup_error()
    driver.watch()
    driver.create_volume(volume(pool="a"), "op")
    stats = {each.name: each for each in driver.get_volume_stats(refresh=True)}
    assert (stats["a"].fault, stats["b"].fault) == ("", "")
    assert "fast#c is unavailable: there is no volume group h" in stats["c"].fault
    with pytest.raises(errors.BackendUnavailable, match="fast#c"):
        driver.create_volume(volume(pool="c"), "op")


def test_a_single_pool_has_its_whole_group(lvm: _Lvm) -> None:
    """Without `pools` every LV of the group is listed, and the backend's name is its pool's, as ever."""
    single = ThinDriver("b", volume_group="g", pool_name="one", runner=lvm)
    set_up(single)
    lvm.add("g", "theirs", "thin", pool="two")
    assert [(found.name, found.pool) for found in single.list_objects()] == [("theirs", "b")]
    assert [each.name for each in single.get_volume_stats(refresh=True)] == ["b"]
