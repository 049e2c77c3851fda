"""Virtual machines by Vagrant and libvirt: brought up, switched off as by a power cut, their links cut, removed."""

import os
import subprocess
from pathlib import Path

from rig import box, network
from rig.agent import Agent, HostFailed
from rig.fleet import Fleet, Host
from rig.log import log

ROOT = Path(__file__).resolve().parent.parent
HOSTS = {"storage": 10, "hyper1": 11, "hyper2": 12}
# Two storage networks, so that a target has two portals.
NETWORKS = (1, 2)
_PREFIX = "nbdsvc-rig_"  # vagrant-libvirt's prefix of a machine's name, see Vagrantfile
_BOX = "nbdsvc-rig"
_TARGET = "vdz"  # a name after those of all disks that the Vagrantfile gives a machine


def up(names: list[str]) -> Fleet:
    """Bring the named machines up, made or running already; returns how to reach them."""
    home = box.build()
    network.up()
    if missing := _missing(names):
        _add_box(home)
        # A boot in emulation hangs sometimes; Vagrant removes such a machine, and the second try makes a new one.
        if _vagrant(home, "up", "--provider=libvirt", *missing, final=False) is None:
            log(f"trying again: {', '.join(_missing(names))}")
            _vagrant(home, "up", "--provider=libvirt", *_missing(names))
    log(f"machines are up: {', '.join(names)}")
    disks = {"storage": ["/dev/vdb", "/dev/vdc"]}
    return Fleet([Host(name, address(name), str(home / "id"), True, disks.get(name, [])) for name in names])


def down() -> None:
    """Remove all machines, disks and networks of the rig; by virsh, as Vagrant fails at a machine in an odd state."""
    for name in HOSTS:
        domain = _PREFIX + name
        _virsh("destroy", domain)
        _virsh("undefine", domain, "--snapshots-metadata", "--nvram")
        _virsh("vol-delete", f"{domain}.img", "--pool", "default")
        for disk in "bcd":
            _virsh("vol-delete", f"{domain}-vd{disk}.qcow2", "--pool", "default")
    for name in ["vagrant-libvirt", *(f"rig-san{number}" for number in NETWORKS)]:
        _virsh("net-destroy", name)
        _virsh("net-undefine", name)
    subprocess.run(["rm", "-rf", str(ROOT / ".vagrant")], check=True)
    network.down()


def address(name: str, net: int = 1) -> str:
    """The machine's address in storage network `net`."""
    return f"10.77.{net}.{HOSTS[name]}"


def power_cut(name: str) -> None:
    """Switch the machine off at once, without any notice to it."""
    _must("destroy", _PREFIX + name)


def power_on(agent: Agent) -> None:
    """Switch the machine on and connect its agent. A boot that hangs is tried once more; then HostFailed."""
    name = agent.host.name
    _must("start", _PREFIX + name)
    try:
        agent.reconnect()
    except HostFailed:
        log(f"{name} does not come up: trying again")
        power_cut(name)
        _must("start", _PREFIX + name)
        agent.reconnect()


def set_link(name: str, net: int, state: str) -> None:
    """Set the machine's link to storage network `net` up or down; by MAC, as the tap's name changes at every start."""
    _must("domif-setlink", _PREFIX + name, mac(name, net), state)


def attach_disk(name: str, path: Path, serial: str) -> None:
    """Attach a read-only disk that survives a power cut; in the machine it is /dev/disk/by-id/virtio-SERIAL."""
    _virsh("detach-disk", _PREFIX + name, _TARGET, "--persistent")
    _must("attach-disk", _PREFIX + name, str(path), _TARGET, "--mode", "readonly", "--persistent", "--subdriver", "raw",
          "--serial", serial)  # fmt: skip


def mac(name: str, net: int) -> str:
    """The MAC address of the machine in storage network `net`."""
    return f"52:54:00:{net:02x}:00:{HOSTS[name]:02x}"


def _add_box(home: Path) -> None:
    listed = _vagrant(home, "box", "list", final=False) or ""
    stamp = box.CACHE / "added"
    if _BOX in listed and stamp.exists() and stamp.read_text() == home.name:
        return
    _vagrant(home, "box", "add", "--force", "--name", _BOX, str(home / "rig.box"))
    # libvirt's image of a box is not removed with the box.
    for line in _virsh("vol-list", "default").splitlines():
        if line.split()[0].startswith(f"{_BOX}_vagrant_box_image"):
            _virsh("vol-delete", line.split()[0], "--pool", "default")
    stamp.write_text(home.name)


def _missing(names: list[str]) -> list[str]:
    return [name for name in names if _state(name) != "running"]


def _vagrant(home: Path, *arguments: str, final: bool = True) -> str | None:
    """Run vagrant; its output. After a failure None, or SystemExit if `final`."""
    environment = {**os.environ, "RIG_BOX": _BOX, "RIG_KEY": str(home / "id"), "VAGRANT_CHECKPOINT_DISABLE": "1",
                   "VAGRANT_DEFAULT_PROVIDER": "libvirt"}  # fmt: skip
    argv = network.inside("vagrant", *arguments)
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and final:
        raise SystemExit(f"vagrant {' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return None if done.returncode else done.stdout


def _state(name: str) -> str:
    return _virsh("domstate", _PREFIX + name).strip()


def _virsh(*arguments: str) -> str:
    return subprocess.run(network.inside("virsh", "-q", *arguments), capture_output=True, text=True, check=False).stdout


def _must(*arguments: str) -> None:
    done = subprocess.run(network.inside("virsh", "-q", *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"virsh {' '.join(arguments)}: {done.stderr.strip()}")
