"""Several pools of one backend on real LVM: thin pools of one group, and groups of thick volumes."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from pools import Made, lvm, put, set_up, snapshot_of, volume

from drivers.lvm import make as make_lvm
from nbdsvc import errors
from nbdsvc.driver import Driver
from nbdsvc.units import MiB

GROUP = os.environ["NBDSVC_TEST_VOLUME_GROUP"]
OTHER = f"{GROUP}-b"


@pytest.fixture(params=["thin", "thick"])
def make(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Two thin pools in the group, or the group and another one, which has the group's last disk."""
    lvm("lvremove", "-q", "-f", f"{GROUP}/{GROUP}-pool", check=False)
    if request.param == "thin":
        yield from _thin()
    else:
        yield from _thick()


def _thin() -> Iterator[Made]:
    for name in ("one", "two"):
        lvm("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "256m", "-n", name, GROUP)
    yield partial(_made, {"a": f"{GROUP}/one", "b": f"{GROUP}/two"}, "thin")
    lvm("lvremove", "-q", "-f", GROUP)


def _thick() -> Iterator[Made]:
    disk = lvm("vgs", "--noheadings", "-o", "pv_name", GROUP).split()[-1]
    lvm("vgsplit", "-q", GROUP, OTHER, disk)
    yield partial(_made, {"a": GROUP, "b": OTHER}, "thick")
    lvm("lvremove", "-q", "-f", GROUP, OTHER)
    lvm("vgmerge", "-q", GROUP, OTHER)


def _made(pools: dict[str, str], lvm_type: str) -> Driver:
    options = {"clearing": "none"} if lvm_type == "thick" else {}
    return set_up(make_lvm("fast", pools=pools, lvm_type=lvm_type, **options))


def test_each_pool_has_its_own_volumes(make: Made) -> None:
    """Bytes, statistics, lists and deletions are of the pool that the volume is in, also for a driver that is made again."""
    driver = make()
    refs = [volume(pool="a"), volume(pool="a"), volume(pool="b")]
    for ref in refs:
        driver.create_volume(ref, "op")
        put(driver, ref, MiB, ref.id.encode())
    snapshot = snapshot_of(refs[2])
    driver.create_snapshot(snapshot, "op2")
    driver = make()
    stats = {pool.name: pool for pool in driver.get_volume_stats(refresh=True)}
    assert {name: (pool.volumes, pool.fault) for name, pool in stats.items()} == {"a": (2, ""), "b": (1, "")}
    assert {(found.id, found.pool) for found in driver.list_objects()} == {
        *((ref.id, ref.pool) for ref in refs), (snapshot.id, "b"),
    }  # fmt: skip
    driver.delete_snapshot(snapshot)
    driver.delete_volume(refs[0])
    for ref in refs[1:]:
        with driver.local_path(ref).open("rb") as file:
            file.seek(MiB)
            assert file.read(36) == ref.id.encode()
        driver.delete_volume(ref)


def test_a_volume_of_another_pool_is_not_served(make: Made) -> None:
    """A volume by the name of the pool that it is not in: its path is refused or is no device, and nothing of it goes."""
    driver, ref = make(), volume(pool="a")
    driver.create_volume(ref, "op")
    wrong = replace(ref, pool="b")
    try:
        assert not driver.local_path(wrong).exists()
    except errors.BackendUnavailable as error:
        assert "fast#b" in str(error)
    driver.delete_volume(wrong)
    assert [(found.id, found.pool) for found in driver.list_objects()] == [(ref.id, "a")]
    assert driver.local_path(ref).exists()
    driver.delete_volume(ref)
