"""Migration of volumes between the pools and backends of one host."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess

BACKENDS = """
[solid]
driver = 'file'
options = { pools = { a = 'STATE/a', b = 'STATE/b' } }
[swamp]
driver = 'memory'
options = { pools = { c = 'STATE/c', small = 'STATE/small' }, capacity = { c = 1099511627776, small = 1073741824 }, max_over_subscription_ratio = 1.0, provider_ids = true }
"""
SWAMP = "me@swamp#c"
CONTENT = os.urandom(3 << 20)
GIB = 1 << 30


@pytest.fixture(scope="module")
def service(module_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """Two backends with two pools each, and a type for each pool."""
    made = module_service(backends=BACKENDS)
    for pool in ("a", "b", "c", "small"):
        new_type(made, pool, {"pool_name": pool})
    return made


def new_type(service: ServiceProcess, name: str, specs: dict[str, str]) -> str:
    body = {"volume_type": {"name": name, "extra_specs": specs}}
    status, content, _ = ask(service, "POST", "/v3/types", body)
    assert status == 200, content
    return name


def written(service: ServiceProcess, pool: str = "a") -> str:
    """A volume in this pool, which its type does not bind to it, with CONTENT at its start and at its end."""
    made = service.client().post("volumes", body={"volume": {"size": 1, "volume_type": pool}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    assert act(service, made, "os-retype", new_type="__DEFAULT__")[0] == 202
    with path(service, made).open("r+b") as file:
        file.write(CONTENT)
        file.seek(GIB - len(CONTENT))
        file.write(CONTENT)
    return str(made)


def objects(service: ServiceProcess, id: str) -> list[Path]:
    """What there is of the volume in any pool; objects of the simulator have names of their own, so all of them."""
    folders = [service.state / pool / folder for pool in ("a", "b", "c", "small") for folder in ("volumes", "new")]
    return [each for folder in folders for each in folder.glob("*") if id in each.name or folder.parent.name == "c"]


def path(service: ServiceProcess, id: str) -> Path:
    (found,) = objects(service, id)
    return found


def is_whole(service: ServiceProcess, id: str) -> bool:
    """Whether the one object of the volume has its bytes."""
    with path(service, id).open("rb") as file:
        start = file.read(len(CONTENT))
        hole = file.read(1 << 20)
        file.seek(GIB - len(CONTENT))
        return start == file.read() == CONTENT and not any(hole)


def act(service: ServiceProcess, id: str, name: str, **body: Any) -> tuple[int, str]:
    status, content, _ = ask(service, "POST", f"/v3/volumes/{id}/action", {name: body})
    return status, str(content)


def migrate(service: ServiceProcess, id: str, host: str, **body: Any) -> None:
    status, content = act(service, id, "os-migrate_volume", host=host, **body)
    assert status == 202, content


def shown(service: ServiceProcess, id: str) -> dict[str, Any]:
    return dict(ask(service, "GET", f"/v3/volumes/{id}", OpenStack_API_Version="volume 3.44")[1]["volume"])


def newest(service: ServiceProcess, kind: str = "volume.migrate") -> dict[str, Any]:
    service.settle()
    return dict(service.client().get("operations", kind=kind, limit=1, all_tenants=1)["operations"][0])


def remove(service: ServiceProcess, id: str) -> None:
    service.client().delete("volumes", id)
    assert service.wait_status("volumes", id) == "gone"
    assert objects(service, id) == []


def place(service: ServiceProcess, id: str) -> tuple[str, str, str | None]:
    row = shown(service, id)
    return row["os-vol-host-attr:host"], row["status"], row["migration_status"]


@pytest.mark.row("S033", "S085", "S096")
def test_a_driver_moves_what_it_can(service: ServiceProcess) -> None:
    """Between two pools of one file system the file is renamed: the same inode, no copy; and back."""
    id = written(service)
    inode = path(service, id).stat().st_ino
    for host in ("me@solid#b", "me@solid#a"):
        migrate(service, id, host)
        assert newest(service)["progress"]["total"] == 0
        assert place(service, id) == (host, "available", "success")
        assert path(service, id).stat().st_ino == inode
        assert is_whole(service, id)
    remove(service, id)


@pytest.mark.row("S033", "S034", "S075", "S084", "S085")
@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("host", ["me@solid#b", SWAMP])
def test_else_it_is_copied(service: ServiceProcess, host: str, lock: bool) -> None:
    """Forced, or to another backend: the bytes are copied, holes stay holes, the source goes; the driver's hooks are called."""
    id = written(service)
    migrate(service, id, host, force_host_copy=True, lock_volume=lock)
    assert shown(service, id)["status"] == ("maintenance" if lock else "available")
    ended = newest(service)
    assert ended["progress"]["data"] == 2 * len(CONTENT), ended["error"]
    assert place(service, id) == (host, "available", "success")
    assert is_whole(service, id)
    assert path(service, id).stat().st_blocks * 512 < 16 << 20
    assert list((service.state / "c" / "copying").glob("*")) == []
    remove(service, id)
