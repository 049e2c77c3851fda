"""Killed by SIGKILL while a cached image is made, used or evicted: nothing is stuck or left over, and no bytes are wrong."""

from collections.abc import Callable, Iterator

import pytest
from caching import Caching
from killing import BACKWARD, FORWARD
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME

CREATE = [step.name for step in TYPES_BY_NAME["volume.create"].steps]
# The first volume's own steps, and then the only step of the entry's operation, which is of the same type.
MAKE = [(moment, step, 0) for step in CREATE for moment in FORWARD] + [(moment, CREATE[0], 1) for moment in FORWARD]
_STEPS = TYPES_BY_NAME["image.import"].steps
IMPORT = [(moment, step.name, None) for step in _STEPS for moment in FORWARD]
IMPORT += [(moment, step.name, _STEPS[-1].name) for step in _STEPS if step.undo for moment in BACKWARD]
EVICT = [(moment, step.name) for step in TYPES_BY_NAME["volume.delete"].steps for moment in FORWARD]


@pytest.fixture(scope="module")
def caching(module_service: Callable[..., ServiceProcess]) -> Iterator[Caching]:
    yield Caching(module_service(DRIVER="memory", IMAGE_CACHE_GIGABYTES=10))


@pytest.fixture(autouse=True)
def empty(caching: Caching) -> Iterator[None]:
    """Without volumes and entries, and with nothing that differs, after each case."""
    yield
    for volume in caching.client.get("volumes")["volumes"]:
        caching.client.delete("volumes", volume["id"], force="true")
    caching.service.settle()
    for entry in caching.available():
        caching.client.delete("image-cache", entry["id"])
    wait_until(lambda: not caching.entries(), 30 * PATIENCE, caching.entries)
    caching.check_clean()


def _killed(caching: Caching, request: Callable[[], object]) -> None:
    """The request, during or after which the service dies; it is started again and comes to rest."""
    try:
        request()
    except (OSError, errors.Error):
        pass  # the service died before it replied
    assert caching.service.wait_dead()
    caching.service.start()
    caching.service.settle()


def _create(caching: Caching) -> object:
    return caching.request("p1", caching.base)


def _check_whole(caching: Caching, count: int) -> None:
    """So many volumes, each with the image's bytes."""
    volumes = caching.client.get("volumes", "detail")["volumes"]
    assert [each["status"] for each in volumes] == ["available"] * count
    assert {caching.content(each["id"]) for each in volumes} == {caching.image_bytes}
    assert {each["bootable"] for each in volumes} == {"true"}


@pytest.mark.parametrize(("moment", "step", "skip"), MAKE)
def test_killed_while_an_entry_is_made(caching: Caching, moment: str, step: str, skip: int) -> None:
    """The first volume is whole, one entry is there, and the next volume is cloned of it."""
    caching.service.crash_at("volume.create", moment, step, skip=skip)
    _killed(caching, lambda: _create(caching))
    assert [each["status"] for each in caching.entries()] == ["available"]
    assert not caching.filled(caching.volume())
    _check_whole(caching, 2)


@pytest.mark.parametrize("moment", FORWARD)
def test_killed_while_an_entry_is_cloned(caching: Caching, moment: str) -> None:
    """The volume is whole; an image that is changed afterwards has an entry of its own."""
    caching.volume()
    entry = caching.kept()
    caching.service.crash_at("volume.create", moment, "allocate")
    _killed(caching, lambda: _create(caching))
    _check_whole(caching, 2)
    assert entry["id"] in [each["id"] for each in caching.entries()]
    caching.change_image()
    caching.volume()
    assert {each["image"] for each in caching.entries()} == {entry["image"]}


@pytest.mark.parametrize("moment", BACKWARD)
def test_killed_while_the_clone_of_an_entry_is_undone(caching: Caching, moment: str) -> None:
    """The entry is as it was, and may be evicted: the operation that failed does not hold it."""
    caching.volume()
    caching.kept()
    caching.service.crash_at("volume.create", moment, "allocate", fail="allocate")
    _killed(caching, lambda: _create(caching))
    assert [each["status"] for each in caching.entries()] == ["available"]
    assert not caching.filled(caching.volume())


@pytest.mark.parametrize(("moment", "step"), EVICT)
def test_killed_while_an_entry_is_evicted(caching: Caching, moment: str, step: str) -> None:
    """The entry goes, its volumes stay, and the next volume of the image makes another one."""
    caching.volume()
    entry = caching.kept()
    caching.service.crash_at("volume.delete", moment, step)
    _killed(caching, lambda: caching.client.delete("image-cache", entry["id"]))
    wait_until(lambda: not caching.entries(), 30 * PATIENCE, caching.entries)
    assert caching.filled(caching.volume())
    assert caching.kept()["id"] != entry["id"]
    _check_whole(caching, 2)


@pytest.mark.parametrize(("moment", "step", "fail"), IMPORT)
def test_killed_while_an_image_is_imported(caching: Caching, moment: str, step: str, fail: str | None) -> None:
    """It is whole, or there is nothing of it."""
    body = {"image": {"imageRef": caching.base, "name": f"imported {moment} {step}"}}
    caching.service.crash_at("image.import", moment, step, fail=fail)
    _killed(caching, lambda: caching.client.post("images", body=body))
    folder = caching.service.state / "images"
    made = [each for each in caching.client.get("images")["images"] if each["name"] == body["image"]["name"]]
    assert len(made) == (0 if fail else 1)
    for each in made:
        assert (folder / f"{each['id']}.data").read_bytes() == caching.image_bytes
        caching.client.delete("images", each["id"])
    assert [path.name for path in folder.iterdir()] == [caching.base]


def test_an_image_that_changes_while_its_volume_is_made_is_not_taken_for_the_new_one(caching: Caching) -> None:
    """Killed after the clone and before it is recorded, the step is run again: the lock says which entry it was made of."""
    caching.volume()
    before = caching.image_bytes
    caching.kept()
    caching.service.crash_at("volume.create", "after do", "allocate")
    try:
        made = caching.request("p1", caching.base)
    except OSError:
        made = (0, None)
    assert caching.service.wait_dead(), made
    caching.change_image()
    caching.service.start()
    caching.service.settle()
    volumes = caching.client.get("volumes", "detail")["volumes"]
    assert [each["status"] for each in volumes] == ["available"] * 2
    assert {caching.content(each["id"]) for each in volumes} == {before}
