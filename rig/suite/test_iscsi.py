"""iSCSI on real kernels: LIO by the service on LVM, open-iscsi and dm-multipath on other hosts."""

import hashlib
import os
import time
from collections.abc import Callable

import pytest

from rig import install, iscsi, machines
from rig.agent import Agent, HostFailed
from rig.iscsi import OpenIscsi, wait_until
from rig.product import Initiator, Service
from rig.writes import begin_writes, end_writes

MIB = 1 << 20
TARGETS = "/sys/kernel/config/target/iscsi"
PORTALS = ("10.77.1.10", "10.77.2.10")


def shared_type(service: Service) -> str:
    """The id of a volume type that allows several attachments."""
    body = {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}
    return str(service.call("POST", "types", {"volume_type": body})["volume_type"]["id"])


def content_of(initiator: OpenIscsi) -> Initiator:
    return Initiator(initiator.agent, initiator.service)


@pytest.mark.ci
@pytest.mark.row("S008", "S071", "S072", "S121", "S125")
def test_chap(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """The right password works; a wrong one, another initiator with the right one, and one that lies about its name
    without it are refused with iscsiadm's 24; a connector without a name is refused."""
    service = make_iscsi()
    one, two = OpenIscsi(agents["hyper1"], service), OpenIscsi(agents["hyper2"], service)
    volume = service.volume()
    with pytest.raises(Exception, match=r"initiator\..*in connector"):
        one.reserve(volume, initiator=None)
    for left in service.call("GET", "attachments")["attachments"]:
        service.delete("attachments", left["id"])
    attachment, info = one.reserve(volume)
    portal = info["target_portal"]
    assert one.try_login({**info, "auth_password": "x" * 16}, portal).rc == 24
    assert two.try_login(info, portal).rc == 24
    assert two.try_login({**info, "auth_password": "x" * 16}, portal, initiator=one.name).rc == 24
    assert (one.sessions(), two.sessions()) == ([], [])
    device, written = one.login(info), os.urandom(MIB)
    content_of(one).write(device, 7 * MIB, written)
    assert content_of(one).digest(device, 7 * MIB, MIB) == hashlib.sha256(written).hexdigest()
    wwn, serial = one.agent.run("lsblk", "-dno", "WWN,SERIAL", device).out.split()
    assert (wwn, serial) == (f"0x6001405{volume.replace('-', '')[:25]}", volume)
    discovered = two.agent.run("iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", portal, check=False).out
    assert volume not in discovered
    one.logout(info)
    service.delete("attachments", attachment)
    service.delete("volumes", volume)


@pytest.mark.row("S071")
def test_read_only(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """The target refuses writes, also of an initiator that takes the device for writable."""
    service = make_iscsi()
    one = OpenIscsi(agents["hyper1"], service)
    volume, written = service.volume(), os.urandom(MIB)
    disk = one.attach(volume)
    content_of(one).write(disk.device, 0, written)
    one.detach(disk)
    disk = one.attach(volume, "ro")
    assert disk.info["access_mode"] == "ro"
    assert one.agent.shell(f"blockdev --getro {disk.device}").strip() == "1"
    one.agent.shell(f"blockdev --setrw {disk.device}")
    with pytest.raises(HostFailed):
        one.agent.shell(f"dd if=/dev/zero of={disk.device} bs=4096 count=1 oflag=direct conv=notrunc,fsync")
    assert content_of(one).digest(disk.device, 0, MIB) == hashlib.sha256(written).hexdigest()
    one.detach(disk)
    service.delete("volumes", volume)


@pytest.mark.row("S092")
def test_extended_while_attached(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """A connected initiator sees the new size after a rescan; old bytes are there, new ones are zeros (LP 1731984)."""
    service = make_iscsi()
    one = OpenIscsi(agents["hyper1"], service)
    volume, written = service.volume(), os.urandom(MIB)
    disk = one.attach(volume)
    content_of(one).write(disk.device, 1023 * MIB, written)
    service.act("volumes", volume, "os-extend", {"new_size": 2})
    service.settled("volumes", volume, "in-use")
    one.agent.run("iscsiadm", "-m", "session", "--rescan")
    wait_until(one.agent, f"[ $(blockdev --getsize64 {disk.device}) = {2 << 30} ]")
    assert content_of(one).digest(disk.device, 1023 * MIB, MIB) == hashlib.sha256(written).hexdigest()
    assert content_of(one).digest(disk.device, 1024 * MIB, MIB) == hashlib.sha256(bytes(MIB)).hexdigest()
    content_of(one).write(disk.device, 2047 * MIB, written)
    one.detach(disk)
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S027", "S071", "S072")
def test_two_hosts_on_one_volume(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """A multi-attach volume on both hosts: each sees the other's writes; either may leave without the other's noticing."""
    service = make_iscsi()
    one, two = OpenIscsi(agents["hyper1"], service), OpenIscsi(agents["hyper2"], service)
    volume = service.volume(volume_type=shared_type(service))
    disks = [one.attach(volume), two.attach(volume)]
    assert disks[0].info["auth_username"] != disks[1].info["auth_username"]
    written = [os.urandom(MIB), os.urandom(MIB)]
    content_of(one).write(disks[0].device, MIB, written[0])
    content_of(two).write(disks[1].device, 2 * MIB, written[1])
    for initiator, disk in zip((one, two), disks, strict=True):
        found = content_of(initiator).digest(disk.device, MIB, 2 * MIB)
        assert found == hashlib.sha256(written[0] + written[1]).hexdigest()
    one.detach(disks[0])
    assert content_of(two).digest(disks[1].device, MIB, MIB) == hashlib.sha256(written[0]).hexdigest()
    assert one.try_login(disks[0].info, disks[0].info["target_portal"]).rc == 24
    two.detach(disks[1])
    service.delete("volumes", volume)


@pytest.mark.row("S028", "S030", "S069", "S071")
def test_the_last_detach_of_a_host_ends_its_access(
    make_iscsi: Callable[..., Service], agents: dict[str, Agent]
) -> None:
    """Two attachments of one host: the first to go takes nothing (LP 1786327). With the last, the session that the host
    did not end itself is dead, no byte can be read, and no login works (CVE-2023-2088)."""
    service = make_iscsi()
    one = OpenIscsi(agents["hyper1"], service)
    volume = service.volume(volume_type=shared_type(service))
    disk, written = one.attach(volume), os.urandom(MIB)
    second, info = one.reserve(volume)
    assert {**info, "attachment_id": 0} == {**disk.info, "attachment_id": 0}
    service.delete("attachments", disk.attachment)
    content_of(one).write(disk.device, 0, written)
    assert content_of(one).digest(disk.device, 0, MIB) == hashlib.sha256(written).hexdigest()
    service.delete("attachments", second)
    assert iscsi.configured(service.agent) == []
    with pytest.raises(HostFailed):
        content_of(one).digest(disk.device, 0, MIB)
    one.agent.shell(f"iscsiadm -m node -T {info['target_iqn']} -u", check=False)
    assert one.try_login(info, info["target_portal"]).rc != 0
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S122", "S070")
def test_a_link_goes_down_under_writes(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """Two portals and dm-multipath: one cable is pulled and plugged, then the other; no write fails, all are verified."""
    service = make_iscsi(*PORTALS)
    one = OpenIscsi(agents["hyper1"], service)
    iscsi.start_initiator(one.agent, multipath=True)
    volume = service.volume()
    attachment, info = one.reserve(volume, multipath=True)
    assert (info["target_portals"], info["target_luns"]) == ([f"{ip}:3260" for ip in PORTALS], [0, 0])
    for portal in info["target_portals"]:
        assert one.try_login(info, portal).rc == 0
        one.path(info, portal)
    mapped = f"/dev/disk/by-id/dm-uuid-mpath-36001405{volume.replace('-', '')[:25]}"
    wait_until(one.agent, f"[ -b {mapped} ] && [ $(multipath -ll | grep -c 'active ready') = 2 ]")
    begin_writes(content_of(one), mapped, 60)
    for net in (2, 1):
        time.sleep(5)
        _pull(service, net, "down")
        wait_until(one.agent, "multipath -ll | grep -q failed")
        time.sleep(5)
        _pull(service, net, "up")
        wait_until(one.agent, "[ $(multipath -ll | grep -c 'active ready') = 2 ]")
    print(f"longest write {end_writes(content_of(one)):.1f} s")
    wait_until(one.agent, "multipath -F")  # a program that checks a path that came back opens the map for a moment
    one.logout(info)
    service.delete("attachments", attachment)
    service.delete("volumes", volume)


def _pull(service: Service, net: int, state: str) -> None:
    """A cable of the storage host. The first carries the rig's own commands too, so there its hypervisor's side is cut."""
    if net == 1:
        rule = "table inet rig { chain i { type filter hook input priority 0; tcp dport 3260 ip daddr 10.77.1.10 drop; }; }"
        down, up = ("nft", "-f", "-"), ("nft", "delete", "table", "inet", "rig")
        service.agent.run(*(down if state == "down" else up), given=rule)
    else:
        machines.set_link("storage", net, state)


@pytest.mark.row("S002", "S068")
def test_a_power_cut_of_the_storage_host(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """Under writes the storage host loses its power: LIO is empty when it is back, the service makes every target again
    from its database, and the initiator's writes go on; all are verified. The disk is the same one."""
    service = make_iscsi()
    one, two = OpenIscsi(agents["hyper1"], service), OpenIscsi(agents["hyper2"], service)
    volume, other = service.volume(), service.volume()
    disk, idle = one.attach(volume, patience=iscsi.PATIENT), two.attach(other, "ro", patience=iscsi.PATIENT)
    begin_writes(content_of(one), disk.device, 90)
    time.sleep(5)
    machines.power_cut("storage")
    machines.power_on(service.agent)
    install.install(service.agent)
    assert iscsi.configured(service.agent) == []
    service.start()
    began = time.monotonic()
    wait_until(
        service.agent, f"[ -d {TARGETS}/{disk.info['target_iqn']} ] && [ -d {TARGETS}/{idle.info['target_iqn']} ]"
    )
    print(f"targets are back {time.monotonic() - began:.1f} s after the service answered")
    end_writes(content_of(one))
    content_of(two).digest(idle.device, 0, MIB)
    assert two.agent.run("lsblk", "-dno", "SERIAL", idle.device).out.split() == [other]
    one.detach(disk)
    two.detach(idle)
    for id in (volume, other):
        service.delete("volumes", id)


DAMAGE = {
    "access": "find $T/acls/*/lun_0 -type l -delete; rmdir $T/acls/*/lun_0 $T/acls/*",
    "portal": "rmdir $T/np/*",
    "lun": "find $T/acls/*/lun_0 -type l -delete; find $T/lun/lun_0 -type l -delete",
    "authentication": "echo 0 > $T/attrib/authentication",
    "unknown": "mkdir $T/acls/iqn.2026-11.org.example:unknown",
    "enable": "echo 0 > $T/enable",
}


@pytest.mark.row("S068")
def test_a_damaged_target_is_repaired(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """Whatever of a target is removed or changed under writes is put right by the service; the writes survive it."""
    service = make_iscsi(REPAIR_INTERVAL=1)
    one = OpenIscsi(agents["hyper1"], service)
    volume = service.volume()
    disk = one.attach(volume, patience=iscsi.PATIENT)
    tpg = f"{TARGETS}/{disk.info['target_iqn']}/tpgt_1"
    whole = (
        f"cd {tpg} && [ $(cat enable attrib/authentication | tr -d '\\n') = 11 ] && [ -d np/10.77.1.10:3260 ] &&"
        f' [ "$(ls acls)" = {one.name} ] && [ -n "$(find acls/{one.name}/lun_0 lun/lun_0 -type l)" ]'
        f" && [ $(cat acls/{one.name}/lun_0/write_protect) = 0 ]"
    )
    begin_writes(content_of(one), disk.device, 60)
    for name, damage in DAMAGE.items():
        service.agent.shell(f"T={tpg}; {damage}; true")
        print(f"{name}: whole again after {wait_until(service.agent, whole):.1f} s")
    end_writes(content_of(one))
    one.detach(disk)
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S070")
def test_no_secret_leaves_its_place(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """The CHAP password is in no process's arguments or environment, no log, no operation and no list of attachments."""
    service = make_iscsi(LOG_LEVEL="debug")
    one = OpenIscsi(agents["hyper1"], service)
    volume = service.volume()
    watchers = [iscsi.Watcher(service.agent), iscsi.Watcher(one.agent)]
    disk = one.attach(volume)
    seen = [watcher.seen() for watcher in watchers]
    assert "nbdsvc serve" in seen[0]
    assert "iscsiadm -m node" in seen[1]
    log, operations = service.log(10000) + service.agent.run("dmesg").out, str(service.call("GET", "operations"))
    assert "attachment.connect" in operations
    for place in (*seen, log, operations, str(service.call("GET", "attachments/detail"))):
        assert disk.info["auth_password"] not in place
    one.detach(disk)
    service.delete("volumes", volume)


def product_tests(agent: Agent, *names: str, seconds: float, **env: str) -> str:
    """Run tests of the product on this host; their output. AssertionError unless they pass."""
    argv = ["python3", "-m", "pytest", "-q", "-s", "-W", "ignore", "-p", "no:cacheprovider"]
    argv += ["-c", f"{install.MOUNT}/pyproject.toml", *(f"{install.MOUNT}/tests/{name}" for name in names)]
    path = f"{install.MOUNT}:{install.MOUNT}/site"
    agent.run("mkdir", "-p", "/var/tmp/lio")
    done = agent.run(
        *argv, timeout=seconds, check=False, NBDSVC_TEST_LIO="/var/tmp/lio", PYTHONPATH=path, HOME="/root", **env
    )
    assert done.rc == 0, done.out[-6000:] + done.err[-2000:]
    assert iscsi.configured(agent) == []
    return str(done.out)


@pytest.mark.row("S067", "S068", "S069", "S070", "S072", "S092")
def test_the_exporters_contract(agents: dict[str, Agent]) -> None:
    """The contract suite passes over this kernel's LIO, with a kill at every write of its configuration."""
    iscsi.clear(agents["storage"])
    print(product_tests(agents["storage"], "configfs/test_lio.py", seconds=600)[-600:])


@pytest.mark.row("S021", "S028", "S067", "S068", "S069")
@pytest.mark.timeout(7200)
def test_recovery(agents: dict[str, Agent], group: str) -> None:
    """The recovery suite's kinds of operations that concern exports, killed at every step, on LVM and LIO.

    RIG_KINDS says other kinds; empty: all there are, which takes an hour in emulation.
    """
    Service(agents["storage"]).wipe()
    kinds = os.environ.get("RIG_KINDS", "attachment.repair,attachment.terminate")
    printed = product_tests(
        agents["storage"], "configfs/test_recovery.py", seconds=7200, NBDSVC_TEST_VOLUME_GROUP=group,
        NBDSVC_TEST_KINDS=kinds, NBDSVC_TEST_PATIENCE="10",
    )  # fmt: skip
    print(printed[-2000:])
