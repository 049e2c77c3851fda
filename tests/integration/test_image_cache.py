"""The image cache: the second volume of an image is a clone; entries are bounded, never stale, and no user's."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest
from caching import Caching, tokens
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

Make = Callable[..., ServiceProcess]


@pytest.fixture
def caching_of(make_service: Make) -> Callable[..., Caching]:
    """Starts services whose image cache may have 10 GiB in each pool."""
    return lambda **settings: Caching(make_service(**{"DRIVER": "memory", "IMAGE_CACHE_GIGABYTES": 10, **settings}))


@pytest.fixture
def caching(caching_of: Callable[..., Caching]) -> Caching:
    return caching_of()


@pytest.fixture
def shared(caching_of: Callable[..., Caching], tmp_path: Path) -> Caching:
    """One with users of several projects."""
    return caching_of(**tokens(tmp_path))


def test_the_second_volume_of_an_image_is_a_clone(caching: Caching) -> None:
    """It has the bytes, shows the image, copies nothing, and may be larger than the first; its steps say so."""
    first = caching.volume(size=1)
    entry = caching.kept()
    assert (entry["size"], entry["uses"]) == (1, 0)
    second = caching.volume(size=3)
    assert caching.content(second) == caching.content(first) == caching.image_bytes
    assert caching.path(second).stat().st_size == 3 << 30
    assert caching.filled(first) and not caching.filled(second)
    shown = [caching.client.get("volumes", id)["volume"] for id in (first, second)]
    assert shown[0]["volume_image_metadata"] == shown[1]["volume_image_metadata"]
    assert shown[1]["bootable"] == "true"
    assert caching.entries()[0]["uses"] == 1
    caching.check_clean()


def test_the_making_of_an_entry_is_notified(caching_of: Callable[..., Caching], tmp_path: Path) -> None:
    """As of every volume: while it is being made, and when it is there."""
    path = tmp_path / "events"
    caching = caching_of(notifications=path)
    caching.volume()
    id = caching.kept()["id"]

    def sent() -> list[tuple[str, str]]:
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(e["event_type"], e["payload"]["status"]) for e in found if e["payload"]["volume_id"] == id]

    expected = [("volume.create.start", "creating"), ("volume.create.end", "available")]
    wait_until(lambda: sent() == expected, 30 * PATIENCE, sent)


def test_a_backend_that_is_frozen_meanwhile_keeps_no_image(caching: Caching) -> None:
    """The volume is whole, and of the entry that was refused nothing is left: no row, no operation, no promise."""
    pool = caching.service.state / "pool"
    slow = {"when": "after", "error": None, "delay": 3, "times": 1}
    Faults(pool, "memory").plan({"create_volume": [slow]})
    status, made = caching.request("p1", caching.base)
    assert status == 202, made
    wait_until((pool / "faults.count.json").exists)
    caching.client.put("os-services", "freeze", body={"host": caching.where(made["volume"]["id"]).partition("#")[0]})
    assert caching.rested(made["volume"]["id"]) == "available"
    wait_until(lambda: "is not cached" in caching.service.log.read_text())
    caching.service.settle()
    assert caching.entries() == []
    operations = caching.client.get("operations", all_tenants=1)["operations"]
    assert sorted(each["kind"] for each in operations) == ["backend.freeze", "volume.create"]


def test_a_smaller_volume_makes_a_smaller_entry(caching: Caching) -> None:
    """An entry that is larger than a new volume cannot be cloned for it, and gives way to a clone of that volume."""
    caching.volume(size=2)
    large = caching.kept()
    caching.volume(size=1)
    wait_until(lambda: [each["size"] for each in caching.entries()] == [1], 30 * PATIENCE, caching.entries)
    assert caching.entries()[0]["id"] != large["id"]
    assert not caching.filled(caching.volume(size=2))


def test_a_changed_image_is_never_served_from_the_cache(caching: Caching) -> None:
    """Also when its size and its time of modification are as before: another version is another entry."""
    caching.volume()
    caching.kept()
    caching.change_image()
    after = caching.volume()
    assert caching.filled(after) and caching.content(after) == caching.image_bytes
    wait_until(lambda: len(caching.entries()) == 2, 30 * PATIENCE, caching.entries)


def test_another_projects_private_image_is_not_found_although_it_is_cached(shared: Caching) -> None:
    """The words for it are those for an image that there is not."""
    image = shared.private_image("mine", b"secret")
    shared.volume(project="mine", image=image)
    shared.kept()
    nothing = "00000000-0000-4000-8000-00000000000a"
    said = [shared.refusal("other", each) for each in (image, nothing)]
    assert said[0][0] == said[1][0] == 404
    assert said[0][1].replace(image, "X") == said[1][1].replace(nothing, "X")
    assert shared.entries()[0]["uses"] == 0


def test_users_neither_see_nor_pay_for_the_cache(shared: Caching) -> None:
    """An entry is in no list of a project, nor in its quota; its capacity counts in the pool, and explain knows it."""
    first = shared.volume(project="mine")
    entry = shared.kept()
    status, listed = shared.ask("mine", "GET", "/v3/volumes")
    assert status == 200 and [each["id"] for each in listed["volumes"]] == [first]
    assert shared.ask("mine", "GET", f"/v3/volumes/{entry['id']}")[0] == 404
    assert shared.ask("mine", "GET", "/v3/image-cache")[0] == 403
    assert shared.ask("mine", "DELETE", f"/v3/image-cache/{entry['id']}")[0] == 403
    used = shared.ask("mine", "GET", "/v3/limits")[1]["limits"]["absolute"]
    assert (used["totalVolumesUsed"], used["totalGigabytesUsed"]) == (1, 1)
    wait_until(lambda: shared.provisioned() == 2, 30 * PATIENCE, lambda: str(shared.provisioned()))
    shared.client.act("volumes", entry["id"], "os-reset_status", {"status": "error"})
    wait_until(lambda: not shared.entries(), 30 * PATIENCE, shared.entries)


def test_nothing_may_change_a_cached_image(caching: Caching) -> None:
    """An administrator's extension, attachment or migration of an entry is refused; its deletion is not."""
    caching.volume()
    entry = caching.kept()
    status, said = caching.ask("p1", "POST", f"/v3/volumes/{entry['id']}/action", {"os-extend": {"new_size": 9}})
    assert status == 409, said
    assert "it can only be deleted" in json.dumps(said)
    assert caching.ask("p1", "DELETE", f"/v3/volumes/{entry['id']}")[0] == 202
    wait_until(lambda: not caching.entries(), 30 * PATIENCE, caching.entries)
    caching.check_clean()


def test_the_oldest_go_beyond_the_limits(caching_of: Callable[..., Caching]) -> None:
    """With a count of two the image that was not used for the longest time is evicted, and nothing that it was used for."""
    caching = caching_of(IMAGE_CACHE_COUNT=2)
    images = [caching.image(f"i{index}.raw", bytes([index + 1]) * 4096) for index in range(3)]
    made = [caching.volume(image=images[0]), caching.volume(image=images[1])]
    wait_until(lambda: len(caching.available()) == 2, 30 * PATIENCE, caching.entries)
    assert not caching.filled(caching.volume(image=images[0]))
    made.append(caching.volume(image=images[2]))
    wait_until(lambda: caching.cached_names() == {"i0.raw", "i2.raw"}, 30 * PATIENCE, caching.entries)
    assert [caching.content(id)[:4096] for id in made] == [bytes([index + 1]) * 4096 for index in range(3)]
    caching.check_clean()


def test_a_full_pool_evicts_before_a_creation_fails(caching_of: Callable[..., Caching]) -> None:
    """A pool of 4 GiB that may be promised once: the third GiB of volumes takes the room of the cached image."""
    caching = caching_of(DRIVER_OPTIONS="capacity = 4294967296, max_over_subscription_ratio = 1")
    caching.volume()
    caching.kept()
    wait_until(lambda: caching.provisioned() == 2, 30 * PATIENCE, lambda: "")
    blank = caching.client.post("volumes", body={"volume": {"size": 3}})["volume"]["id"]
    assert caching.service.wait_status("volumes", blank) == "available"
    assert not caching.entries()


def test_a_backend_that_runs_full_evicts_and_tries_again(caching: Caching) -> None:
    """The creation that met OutOfSpace goes on in the same pool, after the eviction."""
    caching.volume()
    caching.kept()
    (caching.service.state / "pool" / "faults.json").write_text(
        json.dumps({"create_volume": [{"when": "before", "error": "OutOfSpace", "times": 1}]})
    )
    blank = caching.client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert caching.rested(blank) == "available", caching.client.get("operations", all_tenants=1)
    assert not caching.entries()


def test_creations_at_once_make_one_entry(caching: Caching) -> None:
    """Four first volumes of an image, submitted together, leave one entry and four whole volumes."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(caching.volume())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {caching.content(id) for id in made} == {caching.image_bytes} and len(made) == 4
    wait_until(lambda: not caching.in_flight(), 30 * PATIENCE, caching.entries)
    assert len(caching.entries()) == 1
    caching.check_clean()


def test_a_backend_without_clones_copies(caching_of: Callable[..., Caching]) -> None:
    """No entry is made, and both volumes are whole."""
    caching = caching_of(DRIVER_OPTIONS="instant_clone = false")
    made = [caching.volume(), caching.volume()]
    assert {caching.content(id) for id in made} == {caching.image_bytes}
    assert not caching.entries()


def test_a_damaged_entry_is_removed_and_its_volume_is_copied(caching: Caching) -> None:
    """An entry whose object is gone fails no creation."""
    caching.volume()
    caching.path(caching.kept()["id"]).unlink()
    second = caching.volume()
    assert caching.filled(second) and caching.content(second) == caching.image_bytes


def test_the_command_line_lists_and_evicts(caching: Caching) -> None:
    """nbdsvc image cache list and evict."""
    caching.volume()
    entry = caching.kept()

    assert json.loads(_image(caching, "cache", "list", "--json"))[0]["id"] == entry["id"]
    _image(caching, "cache", "evict", "--all")
    wait_until(lambda: not caching.entries(), 30 * PATIENCE, caching.entries)


def test_the_command_line_imports_shows_and_sets(caching: Caching) -> None:
    """nbdsvc image import, show, set, list and delete."""
    made = json.loads(_image(caching, "import", caching.base, "--name", "mine", "--json"))
    assert (made["name"], made["visibility"], made["owner"]) == ("mine", "private", "p1")
    changed = json.loads(_image(caching, "set", "mine", "--shared", "--member", "p2", "--protected", "--json"))
    assert (changed["visibility"], changed["members"], changed["protected"]) == ("shared", ["p2"], True)
    _image(caching, "set", "mine", "--no-members", "--unprotected", "--name", "theirs")
    assert json.loads(_image(caching, "show", "theirs", "--json"))["members"] == []
    assert {each["name"] for each in json.loads(_image(caching, "list", "--json"))} == {caching.base, "theirs"}
    _image(caching, "delete", "theirs")
    assert [each["name"] for each in json.loads(_image(caching, "list", "--json"))] == [caching.base]


def _image(caching: Caching, *words: str) -> str:
    """What `nbdsvc image ...` prints."""
    argv = [sys.executable, "-m", "nbdsvc", "image", *words]
    environment = {"NBDSVC_ENDPOINT": caching.service.url, "NBDSVC_PROJECT": "p1"}
    done = run(argv, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmark_measures_a_copy_and_a_clone() -> None:
    """benchmarks/bench_image_cache.py with a small image prints the first and the second volume; it fails unless the second
    was a clone.
    """
    program = Path(__file__).parents[2] / "benchmarks" / "bench_image_cache.py"
    done = run([sys.executable, str(program), "2", "1", "memory"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["first", "second"], done.stdout


def test_evacuation_removes_cached_images_and_moves_none(make_service: Make, tmp_path: Path) -> None:
    """They are no volumes that have to find another place; a migrated volume leaves the entry behind."""
    two = f"""
[a]
driver = 'memory'
options = {{ pool = '{tmp_path}/a' }}
[b]
driver = 'memory'
options = {{ pool = '{tmp_path}/b', capacity = 107374182400 }}
"""
    caching = Caching(make_service(BACKENDS=two, IMAGE_CACHE_GIGABYTES=10))
    first = caching.volume()
    caching.kept()
    caching.client.put("os-services", "evacuate", body={"host": "me@a"})
    wait_until(lambda: not caching.entries(), 30 * PATIENCE, caching.entries)
    wait_until(lambda: caching.where(first).startswith("me@b"), 30 * PATIENCE, lambda: caching.where(first))


@pytest.mark.row("S090")
def test_a_driver_clones_the_image_itself(caching_of: Callable[..., Caching]) -> None:
    """clone_image is called before the cache is looked at; where it declines, the image is copied."""
    caching = caching_of(DRIVER_OPTIONS="clones_images = true")
    first = caching.volume()
    assert not caching.filled(first) and caching.content(first) == caching.image_bytes
    assert caching.client.get("volumes", first)["volume"]["bootable"] == "true"
    packed = caching.image("two.qcow2", b"")
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(caching.service.state / "images" / packed), "4M"], check=True)
    assert caching.filled(caching.volume(image=packed))
    caching.check_clean()
