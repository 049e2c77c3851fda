"""A network namespace of the rig's own with a libvirtd in it: all traffic of the machines stays inside.

The host may be a container without an init system, so the daemons are started here, by hand, and ended by their pids.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from rig.log import log

# With another name, and other folders mounted over libvirt's, a second rig can run on one machine.
NAMESPACE = os.environ.get("RIG_NAMESPACE", "nbdsvc-rig")
_SOCKET = Path("/var/run/libvirt/libvirt-sock")
_DAEMONS = tuple((name, Path(f"/run/{NAMESPACE}-{name}.pid")) for name in ("virtlogd", "libvirtd"))
_PRIVATE = Path(f"/run/{NAMESPACE}")
READY_SECONDS = 30


def inside(*argv: str) -> list[str]:
    """The arguments that run the command in the namespace."""
    return ["ip", "netns", "exec", NAMESPACE, *argv]


def up() -> None:
    """Make the namespace with its loopback, and start the two daemons. Idempotent."""
    if NAMESPACE not in _run("ip", "netns", "list").split():
        _run("ip", "netns", "add", NAMESPACE)
    _run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    for name, pidfile in _DAEMONS:
        if not _alive(pidfile, name):
            pidfile.unlink(missing_ok=True)
            _run(*inside(*_without_kvm(), name, "-d", "-p", str(pidfile)))
    end = time.monotonic() + READY_SECONDS
    while subprocess.run(inside("virsh", "-q", "list"), capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise SystemExit("libvirtd does not answer")
        time.sleep(0.2)
    log(f"libvirtd runs in network namespace {NAMESPACE}")


def _without_kvm() -> list[str]:
    """The prefix of a daemon's command that hides KVM from it, where machines are to be emulated.

    When root may open /dev/kvm and libvirt's user may not, libvirtd discards the cached capabilities of the emulator
    and probes it again for 4 seconds at every query: a machine then takes a minute to define. The mounts are in the
    daemon's own namespace, which `ip netns exec` makes. libvirt cannot copy a /dev with a mount in it, so it must not
    do so.
    """
    if "RIG_KVM" in os.environ or not Path("/dev/kvm").exists():
        return []
    _PRIVATE.mkdir(exist_ok=True)
    (_PRIVATE / "kvm").touch(mode=0)
    (_PRIVATE / "qemu.conf").write_text("namespaces = []\n")
    mounts = "mount --bind $0/kvm /dev/kvm; mount --bind $0/qemu.conf /etc/libvirt/qemu.conf"
    return ["sh", "-ec", f'{mounts}; exec "$@"', str(_PRIVATE)]


def down() -> None:
    """End the daemons and remove the namespace; the machines must be removed before."""
    for name, pidfile in reversed(_DAEMONS):
        if _alive(pidfile, name):
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
            end = time.monotonic() + READY_SECONDS
            while _alive(pidfile, name) and time.monotonic() < end:
                time.sleep(0.1)
    for line in _run("ip", "netns", "pids", NAMESPACE, check=False).split():  # dnsmasq processes of the networks
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line), signal.SIGTERM)
    _run("ip", "netns", "delete", NAMESPACE, check=False)
    shutil.rmtree(_PRIVATE, ignore_errors=True)
    log("network namespace removed")


def _alive(pidfile: Path, name: str) -> bool:
    """The pid of the rig's daemon, by its pid file, if the process has the daemon's name."""
    try:
        return Path(f"/proc/{int(pidfile.read_text())}/comm").read_text().strip() == name
    except (FileNotFoundError, ValueError):
        return False


def _run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
