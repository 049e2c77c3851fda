"""Volumes on the kernel's NBD client, of the host that keeps them."""

import hashlib
import json
import os
import time

import pytest

from rig.agent import HostFailed
from rig.product import Initiator, Service
from rig.writes import begin_writes, end_writes

MIB = 1 << 20


def kind_of(local: Initiator, volume: str) -> dict[str, object]:
    """The record of the attached volume."""
    return dict(json.loads(local.agent.run("cat", f"/run/nbdsvc/attached/{volume}.json").out))


@pytest.mark.ci
@pytest.mark.row("S001", "S070", "S073")
@pytest.mark.parametrize("connections", [1, 4])
def test_a_file_system_comes_back(service: Service, local: Initiator, connections: int) -> None:
    """By kernel nbd, one connection or several: mkfs, write, detach; refused while mounted; the file is there again."""
    volume, run = service.volume(), local.agent.shell
    device = local.attach(volume, f"--connections={connections}")
    noted = kind_of(local, volume)
    assert (noted["kind"], noted["details"]["connections"]) == ("kernel nbd", connections)
    assert service.status("volumes", volume) == "in-use"
    run(f"mkfs.ext4 -q {device}; mkdir -p /mnt/v; mount {device} /mnt/v; head -c 8M /dev/urandom > /mnt/v/f; sync")
    digest = run("sha256sum < /mnt/v/f")
    with pytest.raises(HostFailed, match="it is mounted on /mnt/v; unmount it first"):
        local.detach(volume)
    run("umount /mnt/v")
    local.detach(volume)
    assert service.status("volumes", volume) == "available"
    device = local.attach(volume)
    run(f"mount {device} /mnt/v")
    assert run("sha256sum < /mnt/v/f") == digest
    run("umount /mnt/v")
    local.detach(volume)
    service.delete("volumes", volume)


@pytest.mark.row("S071")
def test_read_only(service: Service, local: Initiator) -> None:
    """The device is read-only for everybody, root too, and says so."""
    volume = service.volume()
    local.write(local.attach(volume), 0, b"written" * 512)
    local.detach(volume)
    device = local.attach(volume, "--read-only")
    assert local.agent.shell(f"blockdev --getro {device}").strip() == "1"
    with pytest.raises(HostFailed):
        local.write(device, 0, bytes(4096))
    assert local.digest(device, 0, 3584) == hashlib.sha256(b"written" * 512).hexdigest()
    local.detach(volume)
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S002", "S069")
def test_the_service_may_die_and_restart(service: Service, local: Initiator) -> None:
    """Its exports go on serving while it is killed, is away, comes back, and is restarted by systemd.

    A host that shuts down kills them: nbdkit answers ESHUTDOWN to what comes after a SIGTERM, and clients give up.
    """
    volume = service.volume()
    begin_writes(local, local.attach(volume), 25)
    assert local.agent.shell("systemctl show -P KillSignal 'nbdsvc-export-*.scope'").strip() == "9"
    server = service.agent.shell("cat /var/lib/nbdsvc/exports/*/process")
    time.sleep(2)
    service.kill()
    time.sleep(2)
    service.start()
    service.stop()
    service.start()
    assert service.agent.shell("cat /var/lib/nbdsvc/exports/*/process") == server
    end_writes(local)
    local.detach(volume)
    service.delete("volumes", volume)


@pytest.mark.row("S068")
def test_a_killed_server_is_a_pause(service: Service, local: Initiator) -> None:
    """nbdkit is killed twice under writes: the service starts it again, the agent connects again, nothing fails."""
    volume = service.volume()
    begin_writes(local, local.attach(volume), 40)
    for _ in range(2):
        time.sleep(3)
        before = service.agent.shell("cat /var/lib/nbdsvc/exports/*/process")
        service.agent.run("kill", "-9", before.split()[0])
        service.agent.shell(f"until [ \"$(cat /var/lib/nbdsvc/exports/*/process)\" != '{before}' ]; do sleep 0.2; done")
    assert end_writes(local) < 60
    local.detach(volume)
    local.agent.shell("while pgrep -f '[n]bdsvc agent' > /dev/null; do sleep 0.2; done")
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S092")
def test_extended_while_it_is_mounted(service: Service, local: Initiator) -> None:
    """The device grows within seconds under a mounted file system, which grows too, and loses nothing."""
    volume, run = service.volume(), local.agent.shell
    device = local.attach(volume)
    run(f"mkfs.ext4 -q {device}; mkdir -p /mnt/v; mount {device} /mnt/v; head -c 8M /dev/urandom > /mnt/v/f; sync")
    digest = run("sha256sum < /mnt/v/f")
    service.act("volumes", volume, "os-extend", {"new_size": 2})
    service.settled("volumes", volume, "in-use")
    run(f"until [ $(blockdev --getsize64 {device}) = {2 << 30} ]; do sleep 0.2; done; resize2fs {device} 2>&1")
    assert int(run("df --output=size -B1M /mnt/v | tail -1")) > 1800
    run(f"head -c 64M /dev/urandom > /mnt/v/more; sync; umount /mnt/v; fsck.ext4 -fn {device}; mount {device} /mnt/v")
    assert run("sha256sum < /mnt/v/f") == digest
    run("umount /mnt/v")
    local.detach(volume)
    service.delete("volumes", volume)


@pytest.mark.row("S092")
def test_extended_and_attached_again(service: Service, local: Initiator) -> None:
    """A volume that grew shows its new size and the old bytes; new ones are zeros."""
    volume, content = service.volume(), os.urandom(MIB)
    local.write(local.attach(volume), 1023 * MIB, content)
    service.act("volumes", volume, "os-extend", {"new_size": 2})
    service.settled("volumes", volume, "in-use")
    local.detach(volume)
    device = local.attach(volume)
    assert int(local.agent.shell(f"blockdev --getsize64 {device}")) == 2 << 30
    assert local.digest(device, 1023 * MIB, MIB) == hashlib.sha256(content).hexdigest()
    assert local.digest(device, 1024 * MIB, MIB) == hashlib.sha256(bytes(MIB)).hexdigest()
    local.detach(volume)
    service.delete("volumes", volume)
