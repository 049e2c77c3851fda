"""Replicated volumes of a service under test, on the simulator that copies them to other sites."""

import contextlib
from pathlib import Path
from typing import Any

import nbd_client
from asking import ask
from nbd_client import connected
from serving import ServiceProcess
from waiting import wait_until

NEWEST = "volume 3.44"
OPTIONS = "replication_targets = { far = 'STATE/far', near = 'STATE/near' }"


def new_type(service: ServiceProcess, spec: str) -> None:
    body = {"volume_type": {"name": spec, "extra_specs": {spec: "<is> True"}}}
    good(service, "POST", "/v3/types", body)


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def create(service: ServiceProcess, **wanted: Any) -> str:
    body = {"volume": {"size": 1, "volume_type": "replication", **wanted}}
    id = str(good(service, "POST", "/v3/volumes", body)["volume"]["id"])
    assert service.wait_status("volumes", id) == "available"
    return id


def shown(service: ServiceProcess, id: str) -> Any:
    return good(service, "GET", f"/v3/volumes/{id}")["volume"]


def wait_replica(service: ServiceProcess, id: str, status: str = "active") -> str:
    wait_until(lambda: shown(service, id)["replication_status"] == status, 30, lambda: shown(service, id))
    return id


def file_at(service: ServiceProcess, id: str, site: str = "pool") -> Path:
    return service.state / site / "volumes" / f"volume-{id}"


def backend(service: ServiceProcess) -> Any:
    return good(service, "GET", "/v3/os-services")["services"][0]


def newest(service: ServiceProcess, kind: str) -> Any:
    return good(service, "GET", f"/v3/operations?kind={kind}&limit=1")["operations"][0]


def write(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


def wait_copy(service: ServiceProcess, id: str, content: bytes, site: str = "far") -> None:
    path = file_at(service, id, site)
    wait_until(lambda: path.exists() and begin(path) == content, 30)


def attached_bytes(service: ServiceProcess, id: str) -> bytes:
    """What an attachment reads at the volume's begin; it is deleted again."""
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    made = good(service, "POST", "/v3/attachments", body)["attachment"]
    found = read(made)
    good(service, "DELETE", f"/v3/attachments/{made['id']}")
    return found


def read(attachment: Any) -> bytes:
    with contextlib.closing(connected(Path(attachment["connection_info"]["unix_socket"]))) as sock:
        return nbd_client.read(sock)[:6]
