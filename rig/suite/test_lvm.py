"""LVM on a real kernel: the product's own tests of its driver, and the service on it."""

import hashlib
import os
import time
from collections.abc import Callable

import pytest

from rig import install, storage
from rig.agent import Agent
from rig.product import Initiator, Service

MIB = 1 << 20


_CONTRACT = [f"tests/contract/test_{name}.py" for name in ("driver", "snapshots", "consistent_snapshots", "manageable")]
OWN_TESTS = {
    "thin": ["-k", "lvm-thin", *_CONTRACT],
    "thick": ["-k", "lvm-thick", *_CONTRACT],
    "thin, faults": ["tests/volume_group/test_lvm.py", "tests/volume_group/test_rules.py"],
    "thick, faults": ["tests/volume_group/test_thick.py"],
}


@pytest.mark.row("S006", "S009", "S064", "S065", "S066", "S092", "S093", "S094", "S097", "S098", "S099", "S100")
@pytest.mark.parametrize("which", OWN_TESTS)
def test_the_drivers_own_tests(agents: dict[str, Agent], group: str, which: str) -> None:
    """The contract suite over both types, and what only LVM can do wrong, pass on this host."""
    names = [f"{install.MOUNT}/{name}" if name.startswith("tests/") else name for name in OWN_TESTS[which]]
    argv = ["python3", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", f"{install.MOUNT}/pyproject.toml",
            *names]  # fmt: skip
    done = agents["storage"].run(
        *argv, timeout=600, check=False, NBDSVC_TEST_VOLUME_GROUP=group,
        PYTHONPATH=f"{install.MOUNT}:{install.MOUNT}/site", HOME="/root",
    )  # fmt: skip
    print(done.out[-600:])
    assert done.rc == 0, done.out[-6000:] + done.err[-2000:]
    assert storage.volumes(agents["storage"]) == []


@pytest.mark.ci
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


def digests(*contents: bytes) -> list[str]:
    """The sha256 of each content, hexadecimal."""
    return [hashlib.sha256(content).hexdigest() for content in contents]


@pytest.mark.row("S009", "S094", "S099")
def test_the_service_on_thick_volumes(
    make_service: Callable[..., Service], agents: dict[str, Agent], group: str
) -> None:
    """A snapshot of one in use, a copy of it, revert, and one unmanaged and managed again; no old bytes are seen."""
    options = f"volume_group = '{group}', lvm_type = 'thick', clearing = 'zero', snapshot_percent = 10"
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=options)
    local = Initiator(agents["storage"], service)
    volume, first, second = service.volume(), os.urandom(MIB), os.urandom(MIB)

    def content(id: str) -> str:
        found = local.digest(local.attach(id), 5 * MIB, MIB)
        local.detach(id)
        return found

    device = local.attach(volume)
    local.write(device, 5 * MIB, first)
    snapshot = service.snapshot(volume)
    local.write(device, 5 * MIB, second)
    local.detach(volume)
    copy = service.volume(snapshot_id=snapshot)
    assert [content(copy), content(volume)] == digests(first, second)
    service.act("volumes", volume, "revert", {"snapshot_id": snapshot})
    service.settled("volumes", volume, "available")
    assert content(volume) == digests(first)[0]
    service.act("volumes", copy, "os-unmanage")
    service.settled("volumes", copy, "gone")
    pool = service.call("GET", "scheduler-stats/get_pools")["pools"][0]["name"]
    body = {"host": pool, "ref": {"source-name": f"volume-{copy}"}}
    taken = service.call("POST", "manageable_volumes", {"volume": body})["volume"]["id"]
    service.settled("volumes", taken, "available")
    assert content(taken) == digests(first)[0]
    service.delete("snapshots", snapshot)
    for id in (volume, taken):
        service.delete("volumes", id)
    fresh = service.volume(size=2)
    assert content(fresh) == digests(bytes(MIB))[0]
    service.delete("volumes", fresh)
    agents["storage"].shell(f"while lvs --noheadings {group} | grep -q trash; do sleep 0.5; done", timeout=120)
    assert storage.volumes(agents["storage"]) == []


def test_a_snapshot_that_ran_full_is_told(
    make_service: Callable[..., Service], agents: dict[str, Agent], group: str
) -> None:
    """Its status is error soon after its room is gone, without anybody asking for it; the volume goes on."""
    options = f"volume_group = '{group}', lvm_type = 'thick', snapshot_percent = 1, autoextend_percent = 0"
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=options)
    local = Initiator(agents["storage"], service)
    volume = service.volume()
    device, snapshot = local.attach(volume), service.snapshot(volume)
    for offset in range(0, 16 * MIB, MIB):
        local.write(device, offset, bytes([7]) * MIB)
    end = time.monotonic() + 60
    while service.status("snapshots", snapshot) == "available":
        assert time.monotonic() < end
        time.sleep(0.5)
    assert service.status("snapshots", snapshot) == "error"
    assert local.digest(device, 0, 16 * MIB) == digests(bytes([7]) * 16 * MIB)[0]
    local.detach(volume)
    service.delete("snapshots", snapshot)
    service.delete("volumes", volume)


@pytest.mark.row("S006", "S022")
def test_a_group_that_appears_late(make_service: Callable[..., Service], agents: dict[str, Agent], group: str) -> None:
    """The service starts without its group and is down, with the reason; it is up soon after the group is there."""
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=f"volume_group = '{group}'")
    volume, agent = service.volume(), agents["storage"]
    service.stop()
    agent.shell(f"vgchange -q -an {group}; vgrename -q {group} elsewhere")
    service.start(up=False)
    assert service.call("GET", "os-services")["services"][0]["state"] == "down"
    assert "there is no volume group" in service.log()
    agent.shell(f"vgrename -q elsewhere {group}")
    service.wait_ready()
    assert agent.shell(f"blockdev --getsize64 /dev/{group}/volume-{volume}").strip() == str(1 << 30)
    service.delete("volumes", volume)
