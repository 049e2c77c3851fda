"""LVM on a real kernel: the product's own tests of its driver, and the service on it."""

import hashlib
import os
from collections.abc import Callable

import pytest

from rig import install, storage
from rig.agent import Agent
from rig.product import Initiator, Service

MIB = 1 << 20


@pytest.mark.row("S006", "S009", "S064", "S065", "S066", "S092", "S093", "S094")
def test_the_drivers_contract(agents: dict[str, Agent], group: str) -> None:
    """The contract suite, and what only LVM can do wrong, pass on this host."""
    argv = ["python3", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", f"{install.MOUNT}/pyproject.toml",
            "-k", "lvm", f"{install.MOUNT}/tests/contract/test_driver.py", f"{install.MOUNT}/tests/volume_group"]  # fmt: skip
    done = agents["storage"].run(
        *argv, timeout=600, check=False, NBDSVC_TEST_VOLUME_GROUP=group,
        PYTHONPATH=f"{install.MOUNT}:{install.MOUNT}/site", HOME="/root",
    )  # fmt: skip
    print(done.out[-600:])
    assert done.rc == 0, done.out[-6000:] + done.err[-2000:]
    assert storage.volumes(agents["storage"]) == []


@pytest.mark.row("S002", "S009", "S094")
def test_the_service_on_lvm(make_service: Callable[..., Service], agents: dict[str, Agent], group: str) -> None:
    """Volumes, snapshots of one in use, clones, revert, extend and delete over the API, with bytes by the kernel's client."""
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=f"volume_group = '{group}'")
    local = Initiator(agents["storage"], service)
    volume, first, second = service.volume(), os.urandom(MIB), os.urandom(MIB)
    device = local.attach(volume)
    local.write(device, 5 * MIB, first)
    snapshot = service.snapshot(volume)
    local.write(device, 5 * MIB, second)
    clone, copy = service.volume(source_volid=volume), service.volume(snapshot_id=snapshot, size=2)
    local.detach(volume)

    def content(id: str) -> str:
        found = local.digest(local.attach(id), 5 * MIB, MIB)
        local.detach(id)
        return found

    digests = [hashlib.sha256(each).hexdigest() for each in (first, second)]
    assert [content(id) for id in (copy, clone, volume)] == [digests[0], digests[1], digests[1]]
    service.act("volumes", volume, "revert", {"snapshot_id": snapshot})
    service.settled("volumes", volume, "available")
    assert content(volume) == digests[0]
    service.delete("snapshots", snapshot)
    for id in (volume, clone, copy):
        service.delete("volumes", id)
    assert storage.volumes(agents["storage"]) == []
