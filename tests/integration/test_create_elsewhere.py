"""A creation whose backend fails goes on in the next pool, says so, and leaves nothing where it failed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from asking import ask
from postgres import Postgres
from serving import ServiceProcess

GIB = 1 << 30
WRITTEN = bytes([1, 77]) * 2500
Make = Callable[..., ServiceProcess]


def _backends(folder: Path, names: str = "abc", **options: Any) -> str:
    """A simulator each; of more room the earlier in the alphabet, so that it is tried first."""
    more = "".join(f", {key} = {json.dumps(value)}" for key, value in options.items())
    return "".join(
        f"[{name}]\ndriver = 'memory'\noptions = {{ pool = '{folder / name}', capacity = {(90 - index) * GIB}{more} }}\n"
        for index, name in enumerate(names)
    )


def _fail(folder: Path, name: str, error: str = "OutOfSpace", when: str = "after", verb: str = "create_volume") -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "faults.json").write_text(json.dumps({verb: [{"when": when, "error": error}]}))


def _create(service: ServiceProcess, **wanted: Any) -> tuple[str, str]:
    """Id and final status of a new volume."""
    answered, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, **wanted}})
    assert answered == 202, content
    id = str(content["volume"]["id"])
    return id, service.wait_status("volumes", id)


def _where(service: ServiceProcess, id: str) -> str:
    return str(service.client().get("volumes", id)["volume"]["os-vol-host-attr:host"])


def _operations(service: ServiceProcess, id: str) -> list[dict[str, Any]]:
    """Those of a volume, oldest first."""
    found = service.client().get("operations", resource_id=id, sort="created_at:asc")["operations"]
    return list(found)


def _files(folder: Path) -> dict[str, int]:
    """How many objects there are in each pool."""
    return {each.name: len([*each.glob("volumes/*"), *each.glob("new/*")]) for each in sorted(folder.iterdir())}


@pytest.mark.row("S023")
@pytest.mark.parametrize(
    ("error", "when"), [("OutOfSpace", "after"), ("BackendUnavailable", "before"), ("CommandFailed", "after")]
)
def test_it_goes_on_in_the_next_pool(make_service: Make, tmp_path: Path, error: str, when: str) -> None:
    """What the first backend made is undone, the row moves, and the operations and a message tell of each attempt."""
    service = make_service(backends=_backends(tmp_path))
    for name in "ab":
        _fail(tmp_path, name, error, when)
    id, status = _create(service, name="v")
    assert (status, _where(service, id)) == ("available", "me@c#c")
    assert _files(tmp_path) == {"a": 0, "b": 0, "c": 1}
    first, second, third = _operations(service, id)
    assert [each["state"] for each in (first, second, third)] == ["failed", "failed", "succeeded"]
    assert (first["continued_by"], second["continued_by"], third["continued_by"]) == (second["id"], third["id"], None)
    assert [each["pool"] for each in third["tried"]] == ["me@a#a", "me@b#b"]
    assert all("simulated" in each["reason"] for each in third["tried"])
    messages = ask(service, "GET", "/v3/messages", OpenStack_API_Version="volume 3.3")[1]["messages"]
    assert {first["id"], second["id"]} == {each["id"] for each in messages}
    assert any(f"It goes on in another pool, by operation {third['id']}." in each["user_message"] for each in messages)
    used = service.client().get("os-quota-sets", "p1", usage="true")["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"]) == (1, 1)
    assert service.leftovers() == []


def test_the_command_line_waits_for_the_last_attempt(make_service: Make, tmp_path: Path) -> None:
    """`volume create --wait` follows the creation into the next pool, and `operation list` says that it went on."""
    service = make_service(backends=_backends(tmp_path))
    _fail(tmp_path, "a")
    environment = {"NBDSVC_ENDPOINT": service.url, "NBDSVC_TOKEN": "t:p1", "PATH": "/usr/bin:/bin"}

    def nbdsvc(*arguments: str) -> str:
        done = run([sys.executable, "-m", "nbdsvc", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "available" in nbdsvc("volume", "create", "1", "--json")
    assert "It goes on by" in nbdsvc("operation", "list")


@pytest.mark.parametrize(("most", "status", "attempts"), [(1, "error", 1), (2, "error", 2), (3, "available", 3)])
def test_at_most_so_many_attempts(make_service: Make, tmp_path: Path, most: int, status: str, attempts: int) -> None:
    """scheduler_max_attempts counts the first one; the last failure is the volume's."""
    service = make_service(backends=_backends(tmp_path), scheduler_max_attempts=most)
    for name in "ab":
        _fail(tmp_path, name)
    id, found = _create(service)
    assert (found, len(_operations(service, id))) == (status, attempts)
    assert sum(_files(tmp_path).values()) == (status == "available")


def test_where_no_other_pool_will_do(make_service: Make, tmp_path: Path) -> None:
    """Without another pool of its type that has room, the first failure is the volume's, in the first backend."""
    service = make_service(backends=_backends(tmp_path, "ab"))
    for name in "ab":
        _fail(tmp_path, name)
    id, status = _create(service)
    assert (status, _where(service, id), len(_operations(service, id))) == ("error", "me@b#b", 2)


def test_what_is_not_the_backends_fault_does_not_go_on(make_service: Make, tmp_path: Path) -> None:
    """A bad image fails in the first pool; so does a volume whose undo failed, for something may be left there."""
    service = make_service(backends=_backends(tmp_path, "ab"))
    (service.state / "images" / "bad.qcow2").write_bytes(b"QFI\xfb" + bytes(508))
    id, status = _create(service, imageRef="bad.qcow2")
    assert (status, len(_operations(service, id))) == ("error", 1)
    _fail(tmp_path, "a", verb="delete_volume")
    plan = json.loads((tmp_path / "a" / "faults.json").read_text())
    plan["create_volume"] = [{"when": "after", "error": "OutOfSpace"}]
    (tmp_path / "a" / "faults.json").write_text(json.dumps(plan))
    id, status = _create(service)
    (operation,) = _operations(service, id)
    assert (status, operation["state"], _where(service, id)) == ("error", "rollback_failed", "me@a#a")


@pytest.mark.parametrize("instant", [True, False])
def test_a_volume_of_a_source(make_service: Make, tmp_path: Path, instant: bool) -> None:
    """What shares blocks with its source stays in its pool; what is copied goes on in another pool of the same backend."""
    pools = f"pools = {{ a = '{tmp_path}/a', b = '{tmp_path}/b' }}, capacity = {{ a = {90 * GIB}, b = {80 * GIB} }}"
    two = f"[two]\ndriver = 'memory'\noptions = {{ {pools}, instant_clone = {str(instant).lower()} }}\n"
    service = make_service(backends=two + _backends(tmp_path, "c"))
    client = service.client()
    client.post("types", body={"volume_type": {"name": "two", "extra_specs": {"volume_backend_name": "two"}}})
    source, _ = _create(service, volume_type="two")
    assert _where(service, source) == "me@two#a"
    verb = "create_cloned_volume" if instant else "create_volume"
    (tmp_path / "a" / "faults.json").write_text(json.dumps({verb: [{"error": "OutOfSpace", "times": 1}]}))
    id, status = _create(service, source_volid=source)
    expected = ("error", "me@two#a") if instant else ("available", "me@two#b")
    assert (status, _where(service, id)) == expected


def test_hints_are_kept(make_service: Make, tmp_path: Path) -> None:
    """The next pool is one that the hints of the request allow."""
    service = make_service(backends=_backends(tmp_path))
    ids = {}
    for name in "ab":
        ids[name], _ = _create(service)
        _fail(tmp_path, name)
    for name in "ab":
        (tmp_path / name / "faults.json").unlink()
    there = _where(service, ids["b"])
    _fail(tmp_path, "a")
    body = {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {"different_host": [ids["b"]]}}
    _, content, _ = ask(service, "POST", "/v3/volumes", body)
    id = content["volume"]["id"]
    service.wait_status("volumes", id)
    assert there == "me@b#b"
    assert _where(service, id) == "me@c#c"


def test_it_goes_on_at_another_host(make_service: Make, postgres: Postgres, tmp_path: Path) -> None:
    """Where the only other pool is another host's, the creation goes on there."""
    database, homes = postgres.database(), [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    one = make_service("one", database=database, host="one", backends=_backends(homes[0], "a"))
    two = make_service("two", database=database, host="two", backends=_backends(homes[1], "ab"))
    _fail(homes[0], "a")
    _fail(homes[1], "a", when="before")
    id, status = _create(one)
    assert (status, _where(two, id)) == ("available", "two@b#b")
    assert _files(homes[0]) == {"a": 0}


@pytest.mark.row("S021")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind_of_database", ["sqlite", "postgresql"])
def test_killed_at_each_step(
    make_service: Make, request: pytest.FixtureRequest, tmp_path: Path, kind_of_database: str
) -> None:
    """Killed at any step of an attempt or of its undo, the creation ends in the next pool, and nothing is left anywhere."""
    given: dict[str, Any] = {}
    if kind_of_database == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        given["database"] = postgres.database()
    service = make_service(backends=_backends(tmp_path, "ab"), **given)
    (service.state / "images" / "base.raw").write_bytes(WRITTEN)
    _fail(tmp_path, "a")
    first = [("before do", "allocate", 0), ("before undo", "allocate", 0), ("after undo", "allocate", 0)]
    second = [("before do", "allocate", 1), ("after do", "allocate", 0)]
    second += [(moment, step, 0) for step in ("fill", "tidy") for moment in ("before do", "after do")]
    for moment, step, skip in first + second:
        service.crash_at("volume.create", moment, step, None, skip)
        _, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": "base.raw"}})
        id = content["volume"]["id"]
        assert service.wait_dead(), (moment, step)
        service.start()
        assert service.wait_status("volumes", id) == "available", [each["error"] for each in _operations(service, id)]
        _check_and_delete(service, tmp_path, id)


def _check_and_delete(service: ServiceProcess, folder: Path, id: str) -> None:
    assert _where(service, id) == "me@b#b"
    assert [each["state"] for each in _operations(service, id)] == ["failed", "succeeded"]
    with (folder / "b" / "volumes" / f"volume-{id}").open("rb") as file:
        assert file.read(5000) == WRITTEN
    assert _files(folder) == {"a": 0, "b": 1}
    used = service.client().get("os-quota-sets", "p1", usage="true")["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"]) == (1, 1)
    assert service.leftovers() == []
    service.client().delete("volumes", id)
    assert service.wait_status("volumes", id) == "gone"
