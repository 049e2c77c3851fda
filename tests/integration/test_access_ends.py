"""An attachment's access ends when it is requested, whatever else is under way on its volume."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors

MIB = 1 << 20
LOCAL = {"host": "me", "ip": "127.0.0.1"}
# Far below the hour that the copies here would take, and below attach_timeout: access that ends later ends by something else.
SOON = 20 * PATIENCE


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """Its copies never end: one byte a second."""
    made = make_service(copy_rate=1, attach_timeout=3600)
    (made.state / "images").mkdir(exist_ok=True)
    (made.state / "images" / "disk.raw").write_bytes(os.urandom(4 * MIB))
    return made


def a_volume(service: ServiceProcess, **fields: Any) -> str:
    return str(service.client().post("volumes", body={"volume": {"size": 1, **fields}})["volume"]["id"])


def attached(service: ServiceProcess) -> tuple[str, str]:
    """(volume, attachment); some MiB are written."""
    client, volume = service.client(), a_volume(service)
    assert service.wait_status("volumes", volume) == "available"
    with service.backend.volume(service.state, volume).open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    fields = {"volume_uuid": volume, "connector": LOCAL}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]
    client.act("attachments", attachment["id"], "os-complete")
    return volume, str(attachment["id"])


def upload(service: ServiceProcess, volume: str) -> str:
    """The upload of a volume in use, which never ends; its operation."""
    fields = {"image_name": "up", "disk_format": "raw", "force": True}
    service.client().act("volumes", volume, "os-volume_upload_image", fields)
    found = service.client().operation_of(volume)
    assert found["kind"] == "volume.upload"
    return str(found["id"])


def states(service: ServiceProcess, kind: str) -> list[str]:
    found = service.client().get("operations", kind=kind, all_tenants=1)["operations"]
    return [row["state"] for row in found]


def ends_by(verb: str, service: ServiceProcess, volume: str, attachment: str) -> None:
    client = service.client()
    if verb == "DELETE":
        client.delete("attachments", attachment)
    elif verb == "os-reset_status":
        client.act("volumes", volume, verb, {"attach_status": "detached"})
    else:
        client.act("volumes", volume, verb, {"attachment_id": attachment})


@pytest.mark.parametrize("verb", ["DELETE", "os-detach", "os-force_detach", "os-force_delete"])
def test_it_ends_during_an_upload(service: ServiceProcess, verb: str) -> None:
    """While an upload of the volume goes on for ever, each way to end its access ends it, and the upload goes on."""
    volume, attachment = attached(service)
    operation, client = upload(service, volume), service.client()
    assert service.servers()
    if verb == "os-force_delete":
        client.act("volumes", volume, verb)
    else:
        ends_by(verb, service, volume, attachment)
    wait_until(lambda: not service.servers(), SOON)
    wait_until(lambda: client.get("attachments")["attachments"] == [], SOON)
    assert states(service, "volume.upload") == ["running"]
    if verb != "os-force_delete":
        assert client.get("volumes", volume)["volume"]["status"] == "uploading"
    client.act("operations", operation, "cancel")
    assert service.wait_status("volumes", volume) == ("gone" if verb == "os-force_delete" else "available")


def test_a_server_that_dies_during_an_upload_is_repaired(service: ServiceProcess) -> None:
    """A copy of its volume does not keep an attachment without its server."""
    volume, attachment = attached(service)
    upload(service, volume)
    before = service.servers()
    service.backend.break_export(service.state, volume, attachment)()
    wait_until(lambda: service.servers() - before, SOON)
    ends_by("DELETE", service, volume, attachment)
    assert not service.servers()


@contextmanager
def sent(service: ServiceProcess, count: int, method: str, path: str, body: Any) -> Iterator[list[socket.socket]]:
    """So many requests of which no answer is read yet."""
    where, content = urlsplit(service.url), json.dumps(body).encode()
    head = f"{method} {where.path}/{path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: t:p1\r\nOpenStack-API-Version: volume 3.44\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    made = []
    try:
        for _ in range(count):
            made.append(socket.create_connection((where.hostname, where.port), timeout=SOON))
            made[-1].sendall(head.encode() + content)
        yield made
    finally:
        for each in made:
            each.close()


def test_requests_that_wait_hold_nobody_up(service: ServiceProcess) -> None:
    """300 requests wait for a volume that is being filled for ever: another project's requests are answered, and a DELETE
    ends all of them, each with a word."""
    client, volume = service.client(), a_volume(service, imageRef="disk.raw")
    wait_until(lambda: client.get("volumes", volume)["volume"]["status"] == "downloading", SOON)
    fields = {"volume_uuid": volume}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    body = {"attachment": {"connector": LOCAL}}
    with sent(service, 300, "PUT", f"attachments/{attachment}", body) as waiting:
        wait_until(lambda: len(states(service, "attachment.connect")) >= 300, 3 * SOON)
        other, began = service.client("p2"), time.monotonic()
        assert other.get("volumes")["volumes"] == []
        made = other.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
        wait_until(lambda: other.get("volumes", made)["volume"]["status"] == "available", SOON)
        assert time.monotonic() - began < SOON
        client.delete("attachments", attachment)
        for each in waiting:
            assert each.recv(100).startswith(b"HTTP/1.1 409")
    assert not service.servers()
    with pytest.raises(errors.NotFound):
        client.get("attachments", attachment)
