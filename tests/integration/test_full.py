"""Access ends also where nothing is left: no room on the disk, none in the database, no descriptor."""

import http.client
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from backends import INITIATOR, SIMULATED_LIO, Backend
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors

LOCAL = {"host": "me", "ip": "127.0.0.1", "initiator": INITIATOR}
SOON = 20 * PATIENCE


class Disk:
    """A small file system of its own below a service's state."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"
        self._folder = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        """To the last byte; pages that its files have already, they keep."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


@pytest.fixture
def disk_and_service(
    make_service: Callable[..., ServiceProcess], request: pytest.FixtureRequest
) -> Iterator[tuple[Disk, ServiceProcess]]:
    backend = getattr(request, "param", Backend(settings={"driver": "memory"}))
    service = make_service(start=False, attach_timeout=5, backend=backend, database_reserve=0)
    disk = Disk(service.state)
    service.start()
    yield disk, service
    service.stop()
    service.end_exports()
    disk.close()


def attached(service: ServiceProcess, *, legacy: bool = False) -> tuple[str, str]:
    """(volume, attachment)"""
    client = service.client()
    volume = str(client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"])
    assert service.wait_status("volumes", volume) == "available"
    if legacy:
        client.act("volumes", volume, "os-initialize_connection", {"connector": LOCAL})
        client.act("volumes", volume, "os-attach", {"host_name": "me", "mountpoint": "/dev/vdb"})
        return volume, str(client.get("attachments")["attachments"][0]["id"])
    fields = {"volume_uuid": volume, "connector": LOCAL}
    return volume, str(client.post("attachments", body={"attachment": fields})["attachment"]["id"])


def end(service: ServiceProcess, verb: str, volume: str, attachment: str) -> str:
    """The message to the client: "" or why it was not done."""
    client: Any = service.client()
    try:
        if verb == "DELETE":
            client.delete("attachments", attachment)
        elif verb == "os-terminate_connection":
            client.act("volumes", volume, verb, {"connector": LOCAL})
        else:
            client.act("volumes", volume, verb, {})
    except errors.Error as error:
        return str(error)
    return ""


@pytest.mark.parametrize("verb", ["DELETE", "os-terminate_connection", "os-detach"])
def test_access_ends_on_a_full_disk(disk_and_service: tuple[Disk, ServiceProcess], verb: str) -> None:
    """With the state folder's disk full, each way to end access ends the server; the client gets what could not be written,
    and the row says so when there is room again."""
    disk, service = disk_and_service
    volume, attachment = attached(service, legacy=verb != "DELETE")
    assert service.servers()
    disk.fill()
    message = end(service, verb, volume, attachment)
    wait_until(lambda: not service.servers(), SOON)
    assert message == "" or "was ended all the same" in message or "was not finished" in message
    disk.free()
    client = service.client()
    if verb == "os-terminate_connection":
        wait_until(lambda: client.get("operations", kind="attachment.terminate", all_tenants=1)["operations"], SOON)
    else:
        wait_until(lambda: client.get("attachments")["attachments"] == [], SOON)
    service.settle()
    assert not service.servers()


@pytest.mark.parametrize("disk_and_service", [SIMULATED_LIO], indirect=True)
def test_an_iscsi_export_ends_on_a_full_disk(disk_and_service: tuple[Disk, ServiceProcess]) -> None:
    """What an iSCSI export notes of its end needs no room either."""
    disk, service = disk_and_service
    volume, attachment = attached(service)
    exports = service.state / "exports"
    assert list(exports.glob("*.lio"))
    disk.fill()
    end(service, "DELETE", volume, attachment)
    wait_until(lambda: not list(exports.glob("*.lio")), SOON)
    disk.free()
    wait_until(lambda: service.client().get("attachments")["attachments"] == [], SOON)
    assert list(exports.glob("*.new")) + list(exports.glob(".*.part")) == []


def test_access_that_ended_without_a_record_does_not_come_back(disk_and_service: tuple[Disk, ServiceProcess]) -> None:
    """Killed before there was room to record the end, the service does not export the volume again when it comes back."""
    disk, service = disk_and_service
    volume, attachment = attached(service)
    disk.fill()
    end(service, "DELETE", volume, attachment)
    wait_until(lambda: not service.servers(), SOON)
    service.kill()
    disk.free()
    service.start()
    client = service.client()
    wait_until(lambda: client.get("attachments")["attachments"] == [], SOON)
    service.settle()
    assert not service.servers()
    assert service.wait_status("volumes", volume) == "available"


def test_access_ends_without_descriptors(service: ServiceProcess) -> None:
    """A process whose descriptors are all taken ends access by those that it kept back."""
    _, attachment = attached(service)
    assert service.process
    where, pid = urlsplit(service.url), service.process.pid
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    headers = {"X-Auth-Token": "t:p1", "OpenStack-API-Version": "volume 3.44"}
    connection.request("GET", f"{where.path}/attachments/{attachment}", headers=headers)
    assert connection.getresponse().read()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # Nothing above this number is given out any more, and what is below is taken but for the gaps.
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    connection.request("DELETE", f"{where.path}/attachments/{attachment}", headers=headers)
    connection.getresponse().read()
    wait_until(lambda: not service.servers(), SOON)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: service.client().get("attachments")["attachments"] == [], SOON)
    assert not service.servers()
