"""iSCSI through os-brick: by our own command, and by OpenStack's client as it is."""

import hashlib
import json
import os
from collections.abc import Callable

import pytest

from rig import iscsi
from rig.agent import Agent, HostFailed
from rig.install import MOUNT
from rig.product import PORT, Initiator, Service

MIB = 1 << 20
# The script that pip would install for the library's entry point.
PROGRAMS = {
    "privsep-helper": f"#!/bin/sh\nPYTHONPATH={MOUNT}/site exec python3 -c "
                      "'import sys; from oslo_privsep.daemon import helper_main; sys.exit(helper_main())' \"$@\"\n",
    "cinder": f"#!/bin/sh\nPYTHONPATH={MOUNT}/site exec python3 -c "
              "'import sys; from cinderclient.shell import main; sys.exit(main())' \"$@\"\n",
}  # fmt: skip
# Seconds: several Python programs, one after the other, each of which starts slowly in emulation.
PATIENCE = 400


def attach_and_prove(one: Initiator, service: Service, volume: str) -> None:
    """A file system and a file survive two attachments; while it is mounted the detach is refused; nothing stays."""
    run = one.agent.shell
    device = one.attach(volume)
    assert service.status("volumes", volume) == "in-use"
    run(f"mkfs.ext4 -q {device}; mkdir -p /mnt/v; mount {device} /mnt/v; head -c 8M /dev/urandom > /mnt/v/f; sync")
    digest = run("sha256sum < /mnt/v/f")
    with pytest.raises(HostFailed, match="it is mounted on /mnt/v; unmount it first"):
        one.detach(volume)
    run("umount /mnt/v")
    one.detach(volume)
    assert (service.status("volumes", volume), iscsi.remains(one.agent)) == ("available", [])
    device = one.attach(volume)
    run(f"mount {device} /mnt/v")
    assert run("sha256sum < /mnt/v/f") == digest
    run("umount /mnt/v")
    one.detach(volume)
    assert iscsi.remains(one.agent) == []


@pytest.mark.row("S001", "S070", "S073", "S121")
def test_nbdsvc_attach(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """`nbdsvc attach` and `detach` by one portal; the password is in no process's arguments meanwhile."""
    service = make_iscsi()
    one = Initiator(agents["hyper1"], service, PATIENCE)
    volume = service.volume()
    watcher = iscsi.Watcher(one.agent)
    device = one.attach(volume)
    id = service.call("GET", f"attachments?volume_id={volume}")["attachments"][0]["id"]
    attachment = service.call("GET", f"attachments/{id}")["attachment"]
    seen, noted = watcher.seen(), one.agent.run("cat", f"/run/nbdsvc/attached/{volume}.json").out
    assert json.loads(noted)["kind"] == "iSCSI by os-brick"
    assert device.startswith("/dev/sd")
    assert "iscsiadm" in seen
    assert attachment["connection_info"]["auth_password"] not in seen + noted
    one.detach(volume)
    attach_and_prove(one, service, volume)
    service.delete("volumes", volume)


@pytest.mark.row("S122", "S073")
def test_nbdsvc_attach_by_multipath(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """Where multipathd runs, a volume with two portals is one multipath device; detached, no path and no map stays."""
    service = make_iscsi("10.77.1.10", "10.77.2.10")
    iscsi.start_initiator(agents["hyper1"], multipath=True)
    one = Initiator(agents["hyper1"], service, PATIENCE)
    volume = service.volume()
    device = one.attach(volume)
    assert device.startswith("/dev/dm-")
    # os-brick returns when the first path is there; the second appears when its session has scanned.
    iscsi.wait_until(one.agent, f"[ $(ls /sys/block/{device.removeprefix('/dev/')}/slaves | wc -l) = 2 ]")
    one.detach(volume)
    assert iscsi.remains(one.agent) == []
    attach_and_prove(one, service, volume)
    service.delete("volumes", volume)


@pytest.mark.ci
@pytest.mark.row("S070", "S121", "S027")
def test_cinder_local_attach(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """python-brick-cinderclient-ext attaches and detaches, unmodified, by the attachments API; the bytes are there."""
    service = make_iscsi()
    one, local = agents["hyper1"], Initiator(agents["hyper1"], service)
    for name, text in PROGRAMS.items():
        one.put(f"/usr/local/bin/{name}", text.encode())
        one.run("chmod", "755", f"/usr/local/bin/{name}")
    volume, written = service.volume(), os.urandom(MIB)
    env = {"OS_AUTH_TYPE": "noauth", "CINDER_ENDPOINT": f"http://{service.agent.host.address}:{PORT}/v3",
           "OS_PROJECT_ID": "rig", "OS_VOLUME_API_VERSION": "3.44", "HOME": "/root",
           "OSLO_LOCK_PATH": "/run/lock"}  # fmt: skip
    said = one.run("cinder", "local-attach", volume, timeout=PATIENCE, **env).out
    print(said)
    device = next(word for word in said.split() if word.startswith("/dev/"))
    assert service.status("volumes", volume) == "in-use"
    local.write(device, 3 * MIB, written)
    assert local.digest(device, 3 * MIB, MIB) == hashlib.sha256(written).hexdigest()
    one.run("cinder", "local-detach", volume, timeout=PATIENCE, **env)
    assert (service.status("volumes", volume), iscsi.remains(one)) == ("available", [])
    assert iscsi.configured(service.agent) == []
    service.delete("volumes", volume)
