"""Four backends in one service, each LVM one with both transports, and one of them hangs: the others go on."""

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from rig import iscsi, storage
from rig.agent import Agent
from rig.iscsi import Disk, OpenIscsi
from rig.product import Initiator, Service

MIB = 1 << 20
# Seconds in which requests are measured during the hang (docs/rig.md has a run of minutes), and before it.
SECONDS = float(os.environ.get("RIG_HANG_SECONDS", "10"))
BEFORE_SECONDS = min(SECONDS, 60)
THIN, THICK = "rig-thin", "rig-thick"
BACKENDS = (
    "solid.driver = 'file', quick.driver = 'memory', "
    "thin = { driver = 'lvm', exporters = ['nbd', 'iscsi'], "
    f"options.pools = {{ left = '{THIN}/left', right = '{THIN}/right' }} }}, "
    "thick = { driver = 'lvm', exporters = ['nbd', 'iscsi'], "
    f"options = {{ volume_group = '{THICK}', lvm_type = 'thick', clearing = 'none' }} }}"
)
POOLS = {"solid#solid", "quick#quick", "thin#left", "thin#right", "thick#thick"}
PLACE = 5 * MIB
# Type: (backend, transport, pool); the last backend is the one that hangs.
TYPES = {
    "solid": ("solid", "nbd", "solid"),
    "quick": ("quick", "nbd", "quick"),
    "thin": ("thin", "nbd", "left"),
    "thin-iscsi": ("thin", "iSCSI", "right"),
    "thick": ("thick", "nbd", "thick"),
    "thick-iscsi": ("thick", "iSCSI", "thick"),
}
BY_NBD, BY_ISCSI = ("solid", "quick", "thin", "thick"), ("thin-iscsi", "thick-iscsi")


@pytest.fixture
def thin_pools(agents: dict[str, Agent]) -> Iterator[None]:
    """Two thin pools in a group, and a group of thick volumes, which outlive the service of the test."""
    agent = agents["storage"]
    iscsi.clear(agent)
    with storage.groups(agent, THIN, THICK):
        for pool in ("left", "right"):
            agent.run("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "1g", "-n", pool, THIN)
        yield


@pytest.fixture
def service(thin_pools: None, make_service: Callable[..., Service], agents: dict[str, Agent]) -> Service:
    """A file, a simulated, a thin backend of two pools and a thick one; a type for each pool and transport."""
    address = agents["storage"].host.address
    made = make_service(BACKENDS=BACKENDS, NBD_LISTEN=address, NBD_TLS="false", ISCSI_PORTALS=address)
    iscsi.start_initiator(agents["hyper1"])
    wait_up(made)
    for name, (backend, protocol, pool) in TYPES.items():
        specs = {"volume_backend_name": backend, "storage_protocol": protocol, "pool_name": pool}
        made.call("POST", "types", {"volume_type": {"name": name, "extra_specs": specs}})
    return made


def wait_up(service: Service) -> None:
    """Wait until every backend is up. AssertionError after two minutes, with the service's log."""
    end = time.monotonic() + 120
    while not all(row["state"] == "up" for row in service.call("GET", "os-services")["services"]):
        assert time.monotonic() < end, service.log()
        time.sleep(0.5)


def test_a_backend_that_hangs_holds_up_no_other(service: Service, agents: dict[str, Agent]) -> None:
    """While LVM hangs for one backend, each request to the others ends, and bytes of all are served by both transports."""
    pools = {pool["name"].partition("@")[2] for pool in service.call("GET", "scheduler-stats/get_pools")["pools"]}
    assert pools == POOLS
    kernel, scsi = Initiator(agents["hyper1"], service), OpenIscsi(agents["hyper1"], service)
    by_nbd = {service.volume(volume_type=name): os.urandom(MIB) for name in BY_NBD}
    by_iscsi = {service.volume(volume_type=name): os.urandom(MIB) for name in BY_ISCSI}
    devices = {id: kernel.attach(id) for id in by_nbd}
    disks = {id: scsi.attach(id, patience=iscsi.PATIENT) for id in by_iscsi}
    devices |= {id: disk.device for id, disk in disks.items()}
    contents = by_nbd | by_iscsi
    for id, content in contents.items():
        kernel.write(devices[id], PLACE, content)
    before = rounds(service, BEFORE_SECONDS)
    with storage.locked(agents["storage"], THICK):
        stuck = create(service, "thick")
        during = rounds(service, SECONDS)
        assert served(kernel, devices) == digests(contents)
        assert service.status("volumes", stuck) in ("creating", "error")
    show(before, during)
    finish(service, stuck)
    wait_up(service)
    assert served(kernel, devices) == digests(contents)
    detach_all(kernel, scsi, list(by_nbd), list(disks.values()))
    for id in contents:
        service.delete("volumes", id)


def create(service: Service, backend: str) -> str:
    """Request a volume of this type, 1 GiB; its id."""
    return str(service.call("POST", "volumes", {"volume": {"size": 1, "volume_type": backend}})["volume"]["id"])


def rounds(service: Service, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each request, by backend, for `seconds` and at least one round."""
    times: dict[str, list[float]] = {}
    end = time.monotonic() + seconds
    while True:
        for backend in ("solid", "quick", "thin"):
            one_life(service, backend, times)
        if time.monotonic() > end:
            return times


def one_life(service: Service, backend: str, times: dict[str, list[float]]) -> None:
    """Create, reserve for a host, detach, extend and delete, with a wait for each end."""

    def note(what: str, do: Callable[[], object]) -> object:
        began = time.monotonic()
        found = do()
        times.setdefault(f"{backend}: {what}", []).append((time.monotonic() - began) * 1000)
        return found

    def extend() -> None:
        service.act("volumes", id, "os-extend", {"new_size": 2})
        service.settled("volumes", id, "available")

    id = str(note("create", lambda: service.volume(volume_type=backend)))
    attachment = str(note("attach", lambda: reserve(service, id)))
    note("detach", lambda: service.delete("attachments", attachment))
    note("extend", extend)
    note("delete", lambda: service.delete("volumes", id))


def reserve(service: Service, volume: str) -> str:
    """Make an attachment for a host; its id."""
    connector = {"host": "hyper2", "ip": "10.77.1.12", "mode": "rw"}
    body = {"volume_uuid": volume, "instance_uuid": None, "mode": "rw", "connector": connector}
    return str(service.call("POST", "attachments", {"attachment": body})["attachment"]["id"])


def served(kernel: Initiator, devices: dict[str, str]) -> dict[str, str]:
    """The sha256 of each volume's first MiB at PLACE, as the kernel reads it."""
    return {id: kernel.digest(device, PLACE, MIB) for id, device in devices.items()}


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    """The sha256 of each content, hexadecimal."""
    return {id: hashlib.sha256(content).hexdigest() for id, content in contents.items()}


def show(before: dict[str, list[float]], during: dict[str, list[float]]) -> None:
    """Print the durations of requests before and during the hang."""
    for what, values in before.items():
        print(f"{what:16} before: {figures(values)}, during: {figures(during[what])}")


def figures(values: list[float]) -> str:
    """Median, maximum and number of these durations in milliseconds."""
    return f"median {statistics.median(values):.0f} max {max(values):.0f} ms of {len(values)}"


def finish(service: Service, stuck: str) -> None:
    """Wait until the hanging creation has ended, with a volume or an error, and delete the volume. AssertionError."""
    end = time.monotonic() + 120
    while service.status("volumes", stuck) == "creating":
        assert time.monotonic() < end
        time.sleep(0.5)
    service.delete("volumes", stuck)


def detach_all(kernel: Initiator, scsi: OpenIscsi, volumes: list[str], disks: list[Disk]) -> None:
    """Detach the volumes from the kernel's NBD client, and the disks from the iSCSI initiator."""
    for id in volumes:
        kernel.detach(id)
    for disk in disks:
        scsi.detach(disk)
