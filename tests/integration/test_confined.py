"""The child that reads foreign formats, taken over by an attacker: what code that runs in it can reach.

The attempts run by the same command line as qemu-nbd. Each also runs outside, where it succeeds: so it can.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdsvc.images import sandbox

ATTEMPTS = """
import ctypes, json, os, signal, socket, sys
TCP, UNIX, ABSTRACT, SECRET, IMAGE, PARENT = json.loads(sys.argv[1])

def read_a_file(): return open(SECRET).read() == "secret"
def read_passwords(): return "root" in open("/etc/shadow").read()
def see_processes(): return any(name.isdigit() and int(name) > 20 for name in os.listdir("/proc"))
def see_environment(): return "SECRET_IN_ENVIRONMENT" in os.environ
def connect_tcp(): return socket.create_connection(("127.0.0.1", TCP), 2) is not None
def connect_unix():
    with socket.socket(socket.AF_UNIX) as s: s.connect(UNIX); return True
def connect_abstract():
    with socket.socket(socket.AF_UNIX) as s: s.connect(chr(0) + ABSTRACT); return True
def signal_the_parent(): return os.kill(PARENT, 0) is None
def write_the_image():
    with open(IMAGE, "r+b") as file: return file.write(b"x") == 1
def write_a_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder = "/socket" if os.path.isdir("/socket") else os.path.dirname(SECRET)
    with open(folder + "/file", "wb", 0) as file: return file.write(b"x") == 1
def write_to_usr():
    name = "/usr/nbdsvc-was-here"
    open(name, "w").close(); os.unlink(name); return True
def become_another_user(): os.setuid(1); return True
def mount(): return ctypes.CDLL(None, use_errno=True).mount(b"x", b"/usr/share", b"tmpfs", 0, None) == 0  # outside: in a mount namespace
def new_user_namespace(): return ctypes.CDLL(None).unshare(0x10000000) == 0
def make_a_device():
    folder = "/socket" if os.path.isdir("/socket") else os.path.dirname(SECRET)
    return os.mknod(folder + "/device", 0o20600, os.makedev(1, 1)) is None
def see_devices(): return len(os.listdir("/dev")) > 3
def use_memory(): return len(bytearray(3 << 30)) > 0
def open_many_files(): return len([os.dup(0) for _ in range(200)]) == 200
def see_interfaces():
    return len(socket.if_nameindex()) > 1

def outcome(attempt):
    try: return bool(attempt())
    except (OSError, MemoryError): return False
found = {}
for name, attempt in list(globals().items()):
    if callable(attempt) and name not in ("outcome",) and getattr(attempt, "__module__", "") == "__main__":
        pid = os.fork()
        if not pid: os._exit(10 if outcome(attempt) else 11)
        status = os.waitpid(pid, 0)[1]
        found[name] = os.waitstatus_to_exitcode(status) == 10
print(json.dumps(found))
"""


@pytest.fixture
def attempts() -> Iterator[list[str]]:
    """The targets of the attempts: a port, a socket, an abstract one, a secret file, an image, a process; all there."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "secret").write_text("secret")
        (folder / "image").write_bytes(b"image")
        tcp, unix, abstract = (
            socket.create_server(("127.0.0.1", 0)),
            socket.socket(socket.AF_UNIX),
            f"{os.getpid()}-bait",
        )
        unix.bind(str(folder / "unix"))
        unix.listen()
        bait = socket.socket(socket.AF_UNIX)
        bait.bind(f"\0{abstract}")
        bait.listen()
        targets = [
            tcp.getsockname()[1],
            str(folder / "unix"),
            abstract,
            str(folder / "secret"),
            str(folder / "image"),
            os.getpid(),
        ]
        with tcp, unix, bait:
            yield ["/usr/bin/python3", "-c", ATTEMPTS, json.dumps(targets)]


def test_nothing_can_be_reached(attempts: list[str]) -> None:
    """Every attempt that succeeds outside fails in the child: files, network, processes, devices, namespaces, memory."""
    env = {**os.environ, "SECRET_IN_ENVIRONMENT": "1"}
    outside = subprocess.run(
        ["unshare", "--mount", *attempts], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    reached = json.loads(outside.stdout)
    assert len(reached) >= 19
    assert {name for name, succeeded in reached.items() if not succeeded} <= {"see_devices"}, reached
    image = Path(json.loads(attempts[-1])[4])
    written = image.read_bytes()
    (image.parent / "socket").mkdir()
    attempts[-1] = json.dumps([*json.loads(attempts[-1])[:4], sandbox.IMAGE, os.getpid()])
    argv = sandbox.argv(image, image.parent / "socket", attempts)
    inside = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert inside.returncode == 0, inside.stderr
    found = json.loads(inside.stdout)
    assert found.keys() == reached.keys()
    assert [name for name, succeeded in found.items() if succeeded] == []
    assert image.read_bytes() == written


def test_it_ends_with_its_parent_and_its_time(attempts: list[str]) -> None:
    """A child that spins is ended by its limit of processor time, and one whose parent is killed at once."""
    image = Path(json.loads(attempts[-1])[4])
    spin = sandbox.argv(image, image.parent, ["/usr/bin/python3", "-c", "while True: pass"], cpu_seconds=1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert subprocess.run(spin, timeout=60, capture_output=True).returncode != 0
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10
    sleeper = ["/usr/bin/python3", "-c", "import time; print(1, flush=True); time.sleep(50)"]
    sleep = sandbox.argv(image, image.parent, sandbox.held(sleeper))
    launch = "import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); os.wait()"
    parent = subprocess.Popen([sys.executable, "-c", launch, *sleep], stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"1\n"
    parent.kill()
    parent.wait(10)
    assert parent.stdout.read() == b""  # end of file: the child has closed the pipe, so it has ended
    parent.stdout.close()
