"""Volumes over the network: one storage host, two hypervisor hosts."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rig import install, instance, machines
from rig.agent import Agent, HostFailed
from rig.product import Initiator, Service

MIB = 1 << 20


@pytest.mark.ci
@pytest.mark.row("S002", "S008", "S073")
@pytest.mark.parametrize("transport", ["kernel nbd", "FUSE + loop"])
def test_a_volume_outlives_its_host(
    make_service: Callable[..., Service], agents: dict[str, Agent], transport: str
) -> None:
    """Written by one host, which is then destroyed; force-detached and attached to another: the same bytes."""
    plain = transport == "kernel nbd"
    service = make_service(NBD_LISTEN=agents["storage"].host.address, NBD_TLS=str(not plain).lower())
    one, two = Initiator(agents["hyper1"], service), Initiator(agents["hyper2"], service)
    volume, content = service.volume(), os.urandom(4 * MIB)
    device = one.attach(volume)
    assert device.startswith("/dev/nbd" if plain else "/dev/loop")
    one.write(device, 3 * MIB, content)
    with pytest.raises(HostFailed, match="cannot"):
        two.attach(volume)
    with lost(agents["hyper1"]):
        attachment = service.call("GET", f"attachments?volume_id={volume}")["attachments"][0]["id"]
        service.delete("attachments", attachment)
        assert service.status("volumes", volume) == "available"
        found = two.digest(two.attach(volume), 3 * MIB, 4 * MIB)
        assert found == hashlib.sha256(content).hexdigest()
        two.detach(volume)
        service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S002", "S008")
def test_a_volume_outlives_the_image_of_its_host(
    make_service: Callable[..., Service], agents: dict[str, Agent]
) -> None:
    """Written by one host, which is then destroyed; an instance of a different image has it for its disk: the same bytes."""
    service = make_service(NBD_LISTEN=agents["storage"].host.address, NBD_TLS="false")
    one, volume, content = Initiator(agents["hyper1"], service), service.volume(), os.urandom(4 * MIB)
    one.write(one.attach(volume), 3 * MIB, content)
    with lost(agents["hyper1"]):
        service.delete("attachments", service.call("GET", f"attachments?volume_id={volume}")["attachments"][0]["id"])
        made = reserve(service, volume, {"host": "instance", "ip": agents["storage"].host.address, "mode": "rw"})
        found = instance.digest(made["connection_info"]["uri"], 3 * MIB, 4 * MIB)
        assert found == hashlib.sha256(content).hexdigest()
        service.delete("attachments", made["id"])
        service.delete("volumes", volume)


@contextmanager
def lost(agent: Agent) -> Iterator[None]:
    """A block with the host's power cut; afterwards the host runs again, with the product."""
    machines.power_cut(agent.host.name)
    try:
        yield
    finally:
        machines.power_on(agent)
        install.install(agent)


def reserve(service: Service, volume: str, connector: dict[str, str]) -> dict[str, Any]:
    """Make an attachment, as a hypervisor's compute service does it."""
    body = {"volume_uuid": volume, "instance_uuid": None, "mode": connector["mode"], "connector": connector}
    made: dict[str, Any] = service.call("POST", "attachments", {"attachment": body})["attachment"]
    service.act("attachments", made["id"], "os-complete")
    return made


@pytest.mark.ci
@pytest.mark.row("S001", "S008")
def test_qemu_writes_and_the_kernel_reads(make_service: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """QEMU's block layer writes as a guest's disk would, on one host; the kernel of the other reads the same bytes."""
    service = make_service(NBD_LISTEN=agents["storage"].host.address, NBD_TLS="false")
    one, two = agents["hyper1"], Initiator(agents["hyper2"], service)
    volume, content = service.volume(), os.urandom(MIB)
    made = reserve(service, volume, {"host": one.host.name, "ip": one.host.address, "mode": "rw"})
    one.put("/tmp/content", content)
    uri = made["connection_info"]["uri"]
    done = one.run("qemu-io", "-f", "raw", uri, "-c", f"write -s /tmp/content 3M {MIB}", "-c", "write -z 8M 1M",
                   "-c", "flush", "-c", "read -P 0 8M 1M").out  # fmt: skip
    assert "Pattern verification failed" not in done
    one.run("rm", "/tmp/content")
    service.delete("attachments", made["id"])
    assert two.digest(two.attach(volume), 3 * MIB, MIB) == hashlib.sha256(content).hexdigest()
    two.detach(volume)
    service.delete("volumes", volume)
