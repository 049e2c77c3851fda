"""A volume group on the storage host, only on disks that the rig may destroy; and a pool that is full."""

from collections.abc import Iterator
from contextlib import contextmanager

from rig.agent import Agent, HostFailed

GROUP = "cinder-volumes"
# Of a second backend, to which volumes go.
SHELF = "rig-shelf"
POOL = f"{GROUP}-pool"
# A pool so small that it can be filled within seconds; the product extends it when it needs more.
POOL_SIZE, METADATA_SIZE = "1g", "2m"
# The LVs that fill the pool.
_FILL, _BALLAST = "rig-fill", "rig-ballast"


def device(name: str, group: str = GROUP) -> str:
    """An LV's name in device-mapper, where hyphens of names are doubled."""
    return f"{group.replace('-', '--')}-{name.replace('-', '--')}"


def make_group(agent: Agent) -> str:
    """A new, empty group on all of the host's disks; whatever was on them is lost. HostFailed where none is named."""
    if not agent.host.disks:
        raise HostFailed(f"{agent.host.name}: no disk is named that may be destroyed")
    remove_group(agent)
    for disk in agent.host.disks:
        if agent.shell(f"lsblk -nro MOUNTPOINT {disk}").strip():
            raise HostFailed(f"{agent.host.name}: {disk} is in use")
    agent.run("vgcreate", "-q", "-f", "-y", GROUP, *agent.host.disks)
    return GROUP


def make_two_groups(agent: Agent) -> None:
    """GROUP and SHELF, new and empty, on disks of their own. HostFailed where fewer than two disks are named."""
    if len(agent.host.disks) < 2:
        raise HostFailed(f"{agent.host.name}: two disks have to be named that may be destroyed")
    remove_group(agent, SHELF)
    make_group(agent)  # it checks that no disk is in use
    remove_group(agent)
    *disks, shelf = agent.host.disks
    agent.run("vgcreate", "-q", "-f", "-y", GROUP, *disks)
    agent.run("vgcreate", "-q", "-f", "-y", SHELF, shelf)


def remove_group(agent: Agent, group: str = GROUP) -> None:
    """Remove the group and all LVs in it. HostFailed where one is in use."""
    agent.shell(f"! vgs -q {group} > /dev/null 2>&1 || vgremove -q -f -y {group}")


@contextmanager
def groups(agent: Agent, *names: str) -> Iterator[None]:
    """A block in which each name is a group on a disk of its own; the groups are removed afterwards."""
    make_group(agent)
    remove_group(agent)
    try:
        for name, disk in zip(names, agent.host.disks, strict=True):
            agent.run("vgcreate", "-q", "-f", "-y", name, disk)
        yield
    finally:
        for name in names:
            remove_group(agent, name)


@contextmanager
def locked(agent: Agent, group: str) -> Iterator[None]:
    """A block in which LVM commands on this group, and on no other, hang: they wait for LVM's lock of the group."""
    pid = agent.start("python3", "-c", _LOCK, f"/run/lock/lvm/V_{group}", log=_LOCKED)
    try:
        agent.shell(f"for i in $(seq 150); do grep -q locked {_LOCKED} && exit; sleep 0.2; done; exit 1")
        yield
    finally:
        agent.shell(f"kill {pid}; rm {_LOCKED}")


_LOCKED = "/tmp/rig-locked"
# An LVM command removes its lock file at its end. A lock on the removed file excludes no command, so the script then
# locks the next file.
_LOCK = """
import fcntl, os, sys, time
while True:
    file = open(sys.argv[1], "a")
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        if os.path.samestat(os.fstat(file.fileno()), os.stat(sys.argv[1])):
            break
    except FileNotFoundError:
        pass
print("locked", flush=True)
time.sleep(86400)
"""


def volumes(agent: Agent, group: str = GROUP) -> list[str]:
    """Names of all LVs of the group, also hidden ones, except those of its pool. HostFailed without the group."""
    listed = agent.shell(f"lvs -a --noheadings -o lv_name {group}").split()
    return sorted(name for name in listed if f"{group}-pool" not in name and "lvol0_pmspare" not in name)


def make_small_pool(agent: Agent) -> None:
    """Make the thin pool, smaller than the product would make it; the product uses an existing pool."""
    sizes = ["-L", POOL_SIZE, "--poolmetadatasize", METADATA_SIZE]
    agent.run("lvcreate", "-q", "-y", "--type", "thin-pool", *sizes, "-n", POOL, GROUP)


# The pool's own device, below the one that LVM shows; and the first id of thin devices that LVM does not know.
_THIN, _FIRST = f"{device(POOL)}-tpool", 10_000_000


@contextmanager
def full(agent: Agent, *, metadata: bool) -> Iterator[None]:
    """A block in which the pool's data is full, or its metadata nearly, and the group has no free extent."""
    agent.shell(f"lvcreate -q -y -Wn -l 100%FREE -n {_BALLAST} {GROUP} || true; udevadm settle -t 30 || true")
    try:
        agent.shell(f"lvcreate -q -y -V 8g --thinpool {POOL} -n {_FILL} {GROUP}")
        if metadata:
            agent.python(_FILL_METADATA, timeout=300, group=GROUP, device=_THIN, fill=_FILL, first=_FIRST)
        else:
            agent.python(_FILL_DATA, timeout=300, path=f"/dev/{GROUP}/{_FILL}")
        yield
    finally:
        # The filling LVs are removed before the ballast: else the product would extend a pool that is about to be
        # empty.
        gone = f'n={_FIRST}; while dmsetup message {_THIN} 0 "delete $n" 2> /dev/null; do n=$((n + 1)); done'
        agent.shell(f"{gone}; lvremove -q -y -f {GROUP}/{_FILL}; lvremove -q -y -f {GROUP}/{_BALLAST} || true")


# The fill is not zeros, because the pool reuses these blocks, and old bytes must not be readable.
_FILL_DATA = """
import errno, mmap, os
def main(path):
    device, buffer = os.open(path, os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
    buffer[:] = b"\\xa5" * len(buffer)
    try:
        while os.write(device, buffer):
            pass
    except OSError as error:
        return os.strerror(error.errno)
    finally:
        os.close(device)
"""
# Half a GiB is mapped. A snapshot shares the blocks of the mapping's tree, and a write to one chunk copies such a
# block. The snapshots are made by dmsetup, because LVM makes none when metadata is scarce. A few chunks are written at
# a time, because metadata that is completely full would stop the writes of every volume.
_FILL_METADATA = """
import mmap, os, subprocess
def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
def percent(device):
    used, size = run("dmsetup", "status", device).split()[4].split("/")
    return 100 * int(used) / int(size)
def write(path, places, length):
    device, buffer = os.open(path, os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, length)
    for place in places:
        os.pwrite(device, buffer, place)
    os.close(device)
def main(group, device, fill, first):
    write(f"/dev/{group}/{fill}", range(0, 1 << 29, 1 << 20), 1 << 20)
    origin = run("lvs", "--noheadings", "-o", "thin_id", f"{group}/{fill}").strip()
    for number in range(first, first + 200):
        run("dmsetup", "message", device, "0", f"create_snap {number} {origin}")
        run("dmsetup", "create", fill, "--table", f"0 {1 << 20} thin /dev/mapper/{device} {number}")
        try:
            for place in range(0, 1 << 29, 1 << 26):
                if percent(device) > 90:
                    return number
                write(f"/dev/mapper/{fill}", range(place, place + (1 << 26), 1 << 23), 1 << 16)
        finally:
            run("dmsetup", "remove", "--retry", fill)
    raise RuntimeError(f"the metadata of {device} does not fill: {percent(device)} per cent")
"""
