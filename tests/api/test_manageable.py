"""Taking over what exists, over HTTP and by the real cinder command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from drivers.memory import Faults

GIB = 1 << 30
BACKEND = "file"


def at(version: str) -> dict[str, str]:
    return {"OpenStack_API_Version": f"volume {version}"}


def place(service: ServiceProcess, name: str, size: int, content: bytes, folder: str = "volumes") -> Path:
    path = service.state / "pool" / folder / name
    with path.open("wb") as file:
        file.truncate(size)
        file.write(content)
    return path


def start(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def host(service: ServiceProcess) -> str:
    return str(service.client().get("scheduler-stats", "get_pools")["pools"][0]["name"])


def manage(service: ServiceProcess, source: str, **body_fields: Any) -> str:
    body = {"volume": {"host": host(service), "ref": {"source-name": source}, **body_fields}}
    status, answered, _ = ask(service, "POST", "/v3/manageable_volumes", body, **at("3.8"))
    assert status == 202, answered
    return str(answered["volume"]["id"])


def message(service: ServiceProcess, id: str) -> str:
    return str(ask(service, "GET", f"/v3/messages?resource_uuid={id}", **at("3.3"))[1]["messages"][0]["user_message"])


def cinder(service: ServiceProcess, *arguments: str) -> str:
    argv = [str(Path(sys.executable).parent / "cinder"), *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    environment |= {"OS_AUTH_TYPE": "noauth", "CINDER_ENDPOINT": service.url, "OS_PROJECT_ID": "p1",
                    "OS_VOLUME_API_VERSION": "3.71"}  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(text: str) -> list[list[str]]:
    """The cells of what the command prints, header first."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


@pytest.mark.row("S097", "S098", "S099")
def test_the_cinder_command(service: ServiceProcess) -> None:
    """manage, manageable-list, unmanage: bytes stay, the size is rounded up to GiB, and it can be taken over again."""
    place(service, "legacy.raw", GIB + 1000, b"old bytes")
    listed = table(cinder(service, "manageable-list", host(service)))
    assert listed[0][:3] == ["reference", "size", "safe_to_manage"]
    assert listed[1][:4] == ["{'source-name': 'legacy.raw'}", "2", "True", "-"]
    shown = dict(row[:2] for row in table(cinder(service, "manage", "--name", "mine", host(service), "legacy.raw")))
    id = shown["id"]
    assert service.wait_status("volumes", id) == "available"
    row = service.client().get("volumes", id)["volume"]
    assert (row["size"], row["name"]) == (2, "mine")
    path = service.state / "pool" / "volumes" / f"volume-{id}"
    assert start(path, 9) == b"old bytes"
    assert path.stat().st_size == 2 * GIB
    listed = table(cinder(service, "manageable-list", host(service), "--detailed", "1"))
    assert listed[1][2:5] == ["False", "it is managed already", id]
    used = service.client().get("os-quota-sets", "p1", usage="true")["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"]) == (1, 2)
    cinder(service, "unmanage", "mine")
    assert service.wait_status("volumes", id) == "gone"
    assert start(path, 9) == b"old bytes"
    again = manage(service, f"volume-{id}", name="again")
    assert service.wait_status("volumes", again) == "available"
    assert not path.exists()
    service.client().delete("volumes", again)
    assert service.wait_status("volumes", again) == "gone"
    assert service.leftovers() == []


@pytest.mark.row("S100")
def test_snapshots(service: ServiceProcess) -> None:
    """A file becomes a snapshot of a volume of ours, a volume can be made of it, and it can be let go of again."""
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    place(service, "monday.raw", GIB, b"monday", "snapshots")
    text = cinder(service, "snapshot-manageable-list", host(service), "--detailed", "0")
    assert table(text)[1][:3] == ["{'source-name': 'monday.raw'}", "1", "True"]
    assert cinder(service, "snapshot-manage", volume, "monday.raw", "--name", "mon")
    snapshot = client.get("snapshots")["snapshots"][0]["id"]
    assert service.wait_status("snapshots", snapshot) == "available"
    assert client.get("snapshots", snapshot)["snapshot"]["size"] == 1
    restored = client.post("volumes", body={"volume": {"snapshot_id": snapshot}})["volume"]["id"]
    assert service.wait_status("volumes", restored) == "available"
    assert start((service.state / "pool" / "volumes" / f"volume-{restored}"), 6) == b"monday"
    status, answered, _ = ask(service, "POST", f"/v3/volumes/{volume}/action", {"os-unmanage": {}})
    assert status == 400
    assert answered["badRequest"]["message"].endswith("it has 1 snapshots; unmanage or delete them first")
    cinder(service, "snapshot-unmanage", "mon")
    assert service.wait_status("snapshots", snapshot) == "gone"
    assert start((service.state / "pool" / "snapshots" / f"_snapshot-{snapshot}"), 6) == b"monday"


@pytest.mark.row("S097")
def test_what_cannot_be_taken_over_stays_as_it_is(service: ServiceProcess) -> None:
    """A reference to nothing, to what is managed, without a name, or of the wrong type: error_managing, and why."""
    client = service.client()
    mine = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", mine)
    thick = client.post("types", body={"volume_type": {"name": "thick"}})["volume_type"]["id"]
    client.post("types", thick, "extra_specs", body={"extra_specs": {"thick_provisioning_support": "<is> True"}})
    strange = place(service, "strange.raw", GIB, b"x")
    link = strange.with_name("link")
    link.symlink_to("/etc/passwd")
    cases = [
        ({"source-name": "nothing"}, {}, "there is no file nothing"),
        ({"source-name": "link"}, {}, "there is no file link"),
        ({"source-name": "../escape"}, {}, "the plain name"),
        ({"source-id": "7"}, {}, "must be an object with source-name"),
        ({"source-name": f"volume-{mine}"}, {}, "is managed already"),
        ({"source-name": "strange.raw"}, {"volume_type": "thick"}, "volume_type: it asks for thick_provisioning"),
    ]
    for ref, more, reason in cases:
        body_fields = {"host": host(service), "ref": ref, **more}
        _, answered, _ = ask(service, "POST", "/v3/os-volume-manage", {"volume": body_fields})
        id = answered["volume"]["id"]
        assert service.wait_status("volumes", id) == "error_managing"
        assert reason in message(service, id)
        assert client.get("volumes", id)["volume"]["size"] == 0
        client.delete("volumes", id)
        assert service.wait_status("volumes", id) == "gone"
    assert start(strange, 1) == b"x"
    assert client.get("volumes", mine)["volume"]["status"] == "available"


def test_quota_of_what_is_taken_over(service: ServiceProcess) -> None:
    """The size counts as soon as it is known: beyond the limit it is given back under its old name."""
    assert ask(service, "PUT", "/v3/os-quota-sets/p1", {"quota_set": {"gigabytes": 3}})[0] == 200
    path = place(service, "big.raw", 4 * GIB, b"big")
    id = manage(service, "big.raw")
    assert service.wait_status("volumes", id) == "error_managing"
    assert "Quota exceeded for gigabytes: requested 4" in message(service, id)
    assert start(path, 3) == b"big"
    assert ask(service, "PUT", "/v3/os-quota-sets/p1", {"quota_set": {"gigabytes": -1}})[0] == 200
    again = manage(service, "big.raw")
    assert service.wait_status("volumes", again) == "available"


def test_a_failure_afterwards_gives_the_name_back(make_service: Callable[..., ServiceProcess]) -> None:
    """What was renamed and could not be grown has its old name again, and no mark."""
    service = make_service(driver="memory")
    path = place(service, "old.raw", GIB, b"old")
    Faults(service.state / "pool", BACKEND).plan(
        {"manage_existing": [{"when": "after", "error": "OutOfSpace", "times": 1}]}
    )
    id = manage(service, "old.raw")
    assert service.wait_status("volumes", id) == "error_managing"
    assert start(path, 3) == b"old"
    assert os.listxattr(path) == []
    again = manage(service, "old.raw")
    assert service.wait_status("volumes", again) == "available"


def test_lists_are_sorted_and_paged(service: ServiceProcess) -> None:
    """By reference or size, up or down, with limit, offset and marker; bad ones are named."""
    for name, size in (("b", 3), ("a", 2), ("c", 1)):
        place(service, name, size * GIB, b"")
    where = f"/v3/manageable_volumes?host={host(service).replace('#', '%23')}"

    def names(query: str, version: str = "3.8") -> list[str]:
        status, found, _ = ask(service, "GET", where + query, **at(version))
        assert status == 200, found
        return ["".join(row["reference"].values()) for row in found["manageable-volumes"]]

    assert names("") == ["c", "b", "a"]
    assert names("&sort=reference:asc") == ["a", "b", "c"]
    assert names("&sort=size:asc&limit=2") == ["c", "a"]
    assert names("&sort=size:asc&limit=2&offset=1") == ["a", "b"]
    assert names("&sort=size:asc&marker=a") == ["b"]
    assert names("&sort=size:asc&marker=%7B%22source-name%22:%22c%22%7D") == ["a", "b"]
    for query, field in (("&sort=name", "sort"), ("&marker=zz", "marker"), ("&limit=-1", "limit")):
        status, answered, _ = ask(service, "GET", where + query, **at("3.8"))
        assert (status, field in answered["badRequest"]["message"]) == (400, True)


def test_who_may_and_where(service: ServiceProcess) -> None:
    """Microversions, unknown hosts and volumes, bodies with strange fields."""
    assert ask(service, "GET", "/v3/manageable_volumes?host=x", **at("3.7"))[0] == 404
    assert ask(service, "GET", f"/v3/p1/os-volume-manage?host={host(service).replace('#', '%23')}")[0] == 200
    assert ask(service, "GET", "/v3/os-volume-manage")[0] == 400
    assert ask(service, "GET", "/v3/os-snapshot-manage/detail?host=unknown@file")[0] == 400
    for body in ({"volume": {"host": "h"}}, {"volume": {"host": "h", "ref": {}}}, {"volume": {"ref": {"a": "b"}}},
                 {"volume": {"host": "h", "ref": {"source-name": 7}}}, {"volume": {"host": "h", "ref": {"a": "b"}, "x": 1}},
                 {"volume": {"host": "unknown@file#file", "ref": {"source-name": "a"}}}):  # fmt: skip
        assert ask(service, "POST", "/v3/manageable_volumes", body, **at("3.8"))[0] == 400, body
    body_fields = {"snapshot": {"volume_id": UNKNOWN, "ref": {"source-name": "a"}}}
    assert ask(service, "POST", "/v3/manageable_snapshots", body_fields, **at("3.8"))[0] == 404
    assert ask(service, "POST", f"/v3/volumes/{UNKNOWN}/action", {"os-unmanage": {}})[0] == 404
    assert service.client().get("volumes")["volumes"] == []


def test_operations_about_a_host_with_a_long_name(
    make_service: Callable[..., ServiceProcess], database_url: str
) -> None:
    """Operations about a host are kept by its name, which is longer than an id: manageable volumes, and differences."""
    service = make_service(host="storage-" + "x" * 60, database=database_url)
    place(service, "found.raw", GIB, b"x")
    listed = service.client().get("manageable_volumes", host=host(service))["manageable-volumes"]
    assert [each["reference"] for each in listed] == [{"source-name": "found.raw"}]
    assert "findings" in service.client().get("explain")
