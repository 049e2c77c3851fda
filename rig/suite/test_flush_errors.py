"""Writes that were accepted and then lost by the disk under a volume: who gets the error, and how long (docs/lvm.md)."""

import os
from collections.abc import Callable, Iterator

import pytest

from rig.agent import Agent, HostFailed
from rig.product import Initiator, Service

MIB = 1 << 20
GROUP, LAYER = "flaky", "rig-flaky"
# Sectors of the disk that never fail, so that LVM can read its own metadata: extents begin behind (pe_start, 1 MiB).
HEAD = 2048
# LVM would see the group twice, on the disk and on the layer over it; this filter leaves only the layer.
FILTER = "/etc/lvm/lvmlocal.conf"


class Disk:
    """A group on a device-mapper layer over one of the rig's disks, which can lose everything but LVM's metadata."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._disk = agent.host.disks[-1]
        self._sectors = int(agent.shell(f"blockdev --getsz {self._disk}"))
        agent.shell(
            f"wipefs -q -a {self._disk}; echo '0 {self._sectors} linear {self._disk} 0' | dmsetup create {LAYER}"
        )
        agent.put(FILTER, f'devices {{ global_filter = [ "r|^{self._disk}$|" ] }}\n'.encode())
        agent.run("vgcreate", "-q", "-y", GROUP, f"/dev/mapper/{LAYER}")

    def lose(self) -> None:
        """Let every request behind LVM's metadata fail from now on."""
        self._load(f"0 {HEAD} linear {self._disk} 0\n{HEAD} {self._sectors - HEAD} error")

    def heal(self) -> None:
        """Let the disk serve every request again."""
        self._load(f"0 {self._sectors} linear {self._disk} 0")

    def remove(self) -> None:
        """Remove the group and the layer. HostFailed where one is in use."""
        self.heal()
        self._agent.shell(f"vgremove -q -f -y {GROUP}; dmsetup remove --retry {LAYER}; rm -f {FILTER}")
        self._agent.shell(f"wipefs -q -a {self._disk}")

    def _load(self, table: str) -> None:
        suspend = f"dmsetup suspend --noflush --nolockfs {LAYER}"
        self._agent.shell(f"{suspend}; echo '{table}' | dmsetup load {LAYER}; dmsetup resume {LAYER}")


@pytest.fixture
def disk(agents: dict[str, Agent]) -> Iterator[Disk]:
    """The group on a disk that can lose writes; removed after the test."""
    made = Disk(agents["storage"])
    yield made
    made.remove()


# Direct I/O past the initiator's page cache: the export has the data when write returns.
_IO = """
import mmap, os
def main(device, offset, byte, length, flush, fua):
    fd = os.open(device, os.O_RDWR | os.O_DIRECT | (os.O_DSYNC if fua else 0))
    try:
        if length:
            buffer = mmap.mmap(-1, length)
            buffer.write(bytes([byte]) * length)
            os.pwrite(fd, buffer, offset)
        if flush:
            os.fsync(fd)
    except OSError as error:
        return os.strerror(error.errno)
    finally:
        os.close(fd)
    return "done"
"""


@pytest.mark.ci
def test_a_lost_write_is_told_until_the_volume_is_attached_anew(
    make_service: Callable[..., Service], agents: dict[str, Agent], disk: Disk
) -> None:
    """Accepted writes that the disk loses: the next flush, a FUA write and every later flush fail, also when the disk is
    well again and when the server was killed; a new attachment serves what is there, and flushes.
    """
    options = f"volume_group = '{GROUP}', lvm_type = 'thick', clearing = 'none'"
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=options)
    local = Initiator(agents["storage"], service)
    volume = service.volume()
    device = local.attach(volume)

    def io(byte: int = 0, length: int = 0, flush: bool = False, fua: bool = False, offset: int = 0) -> str:
        body = {"byte": byte, "length": length, "flush": flush, "fua": fua, "offset": offset}
        return str(local.agent.python(_IO, device=device, **body))

    assert io(1, MIB, flush=True) == "done"
    disk.lose()
    assert io(2, MIB) == "done"
    answers = [io(flush=True), io(flush=True), io(3, 4096, fua=True, offset=MIB), io(flush=True)]
    assert answers == ["Input/output error"] * 4
    disk.heal()
    assert [io(4, 4096, offset=2 * MIB), io(flush=True)] == ["done", "Input/output error"]
    server = agents["storage"].shell("cat /var/lib/nbdsvc/exports/*/process")
    agents["storage"].run("kill", "-9", server.split()[0])
    agents["storage"].shell(f"until [ \"$(cat /var/lib/nbdsvc/exports/*/process)\" != '{server}' ]; do sleep 0.2; done")
    assert io(flush=True) == "Input/output error"
    try:
        local.detach(volume)
    except HostFailed as error:  # the error says that the device cannot be flushed; the device may be removed or not
        print(f"detach: {error}")
        for row in service.call("GET", f"attachments?volume_id={volume}")["attachments"]:
            service.delete("attachments", row["id"])
        agents["storage"].shell(f"nbd-client -d {device}; rm -rf /run/nbdsvc/attached")
    service.settled("volumes", volume, "available")
    device = local.attach(volume)
    assert io(5, 4096, flush=True, offset=3 * MIB) == "done"
    found = agents["storage"].shell(f"od -An -tu1 -N1 -j {3 * MIB} {device}").strip()
    assert found == "5"
    local.detach(volume)
    service.delete("volumes", volume)


def test_a_direct_writer_of_the_volume_itself_sees_it_at_once(agents: dict[str, Agent], disk: Disk) -> None:
    """The rig's disk really loses: a direct write to an LV on it fails as long as it does, and not after."""
    agent = agents["storage"]
    agent.run("lvcreate", "-q", "-y", "-L", "16m", "-n", "plain", GROUP)
    path, body = f"/dev/{GROUP}/plain", {"offset": 0, "byte": 1, "length": 4096, "flush": False, "fua": True}
    assert agent.python(_IO, device=path, **body) == "done"
    disk.lose()
    assert agent.python(_IO, device=path, **body) == os.strerror(5)
    disk.heal()
    assert agent.python(_IO, device=path, **body) == "done"
