"""Projects share a host's copies: what one of them makes slow or endless, holds up no other project."""

import os
from collections.abc import Callable

import pytest
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli.client import Client

MIB = 1 << 20
LOCAL = {"host": "me", "ip": "127.0.0.1"}
SOON = 30 * PATIENCE


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """One copy at once; of its images one has 128 MiB, which take seconds, and one has 2 MiB."""
    made = make_service(max_copies=1, copy_rate=32 * MIB)
    (made.state / "images").mkdir(exist_ok=True)
    for name, size in (("large.raw", 128), ("small.raw", 2)):
        (made.state / "images" / name).write_bytes(os.urandom(MIB) * size)
    return made


def begin(client: Client, image: str | None) -> str:
    fields = {"size": 1, **({"imageRef": image} if image else {})}
    return str(client.post("volumes", body={"volume": fields})["volume"]["id"])


def becomes(client: Client, volume: str, status: str) -> None:
    wait_until(lambda: client.get("volumes", volume)["volume"]["status"] == status, SOON)


def test_a_project_that_slows_its_copies_slows_itself(service: ServiceProcess) -> None:
    """One project has all slots with copies of one byte a second: two others get theirs, and its own detaches, deletions and
    cancels of what waits are done as well."""
    greedy = service.client("p1")
    free = begin(greedy, None)
    becomes(greedy, free, "available")
    slow = [begin(greedy, "large.raw") for _ in range(5)]
    for volume in slow:
        greedy.act("operations", greedy.operation_of(volume)["id"], "limit", {"rate": 1})
    for project in ("p2", "p3"):
        other = service.client(project)
        becomes(other, begin(other, "small.raw"), "available")
    fields = {"volume_uuid": free, "connector": LOCAL}
    greedy.delete("attachments", greedy.post("attachments", body={"attachment": fields})["attachment"]["id"])
    greedy.delete("volumes", free)
    assert service.wait_status("volumes", free, SOON) == "gone"
    for volume in slow:
        greedy.act("operations", greedy.operation_of(volume)["id"], "cancel")
        becomes(greedy, volume, "error")


def test_a_project_queues_so_many_operations_and_no_more(make_service: Callable[..., ServiceProcess]) -> None:
    """The operations of a project that have not ended are bounded, with the limit in the words; another is not affected,
    and access that is to end is ended."""
    service = make_service(max_copies=1, copy_rate=1, max_operations=3)
    (service.state / "images").mkdir(exist_ok=True)
    (service.state / "images" / "small.raw").write_bytes(os.urandom(4 * MIB))
    client = service.client("p1")
    volume = begin(client, None)
    becomes(client, volume, "available")
    fields = {"volume_uuid": volume, "connector": LOCAL}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    for _ in range(3):
        begin(client, "small.raw")
    with pytest.raises(errors.RequestError, match="operations"):
        begin(client, None)
    other = service.client("p2")
    becomes(other, begin(other, None), "available")
    client.delete("attachments", attachment)
    assert not service.servers()
