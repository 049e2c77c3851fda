"""A network namespace of the rig's own with a libvirtd in it: all traffic of its machines stays in there.

The host may be a container without an init system, so the daemons are started here, by hand, and ended by their pids.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from rig.say import say

# Another name, and other folders for libvirt mounted over its own, make a second rig on one machine.
NAMESPACE = os.environ.get("RIG_NAMESPACE", "nbdsvc-rig")
_SOCKET = Path("/var/run/libvirt/libvirt-sock")
_DAEMONS = tuple((name, Path(f"/run/{NAMESPACE}-{name}.pid")) for name in ("virtlogd", "libvirtd"))
READY_SECONDS = 30


def inside(*argv: str) -> list[str]:
    """The command, run in the namespace."""
    return ["ip", "netns", "exec", NAMESPACE, *argv]


def up() -> None:
    """Idempotent: the namespace with its loopback, and the two daemons."""
    if NAMESPACE not in _run("ip", "netns", "list").split():
        _run("ip", "netns", "add", NAMESPACE)
    _run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    for name, pidfile in _DAEMONS:
        if not _alive(pidfile, name):
            pidfile.unlink(missing_ok=True)
            _run(*inside(name, "-d", "-p", str(pidfile)))
    end = time.monotonic() + READY_SECONDS
    while subprocess.run(inside("virsh", "-q", "list"), capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise SystemExit("libvirtd does not answer")
        time.sleep(0.2)
    say(f"libvirtd runs in network namespace {NAMESPACE}")


def down() -> None:
    """The daemons and the namespace gone; the machines must be gone before."""
    for name, pidfile in reversed(_DAEMONS):
        if _alive(pidfile, name):
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
            end = time.monotonic() + READY_SECONDS
            while _alive(pidfile, name) and time.monotonic() < end:
                time.sleep(0.1)
    for line in _run("ip", "netns", "pids", NAMESPACE, check=False).split():  # dnsmasq of the networks
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line), signal.SIGTERM)
    _run("ip", "netns", "delete", NAMESPACE, check=False)
    say("network namespace removed")


def _alive(pidfile: Path, name: str) -> bool:
    """The daemon that we started: the pid of our file, and the name is right too."""
    try:
        return Path(f"/proc/{int(pidfile.read_text())}/comm").read_text().strip() == name
    except (FileNotFoundError, ValueError):
        return False


def _run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
