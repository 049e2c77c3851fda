"""nbdkit and qemu-nbd as peers: started, waited for, ended."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until


@contextmanager
def nbdkit(folder: Path, *words: str | Path, port: int = 0) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server on a unix socket in the folder, or on a port of 127.0.0.1: its URI and its process."""
    number = len(list(folder.glob("nbdkit-*.pid")))
    place, pid_file = folder / f"nbdkit-{number}.socket", folder / f"nbdkit-{number}.pid"
    door = ["-i", "127.0.0.1", "-p", str(port)] if port else ["-U", str(place)]
    argv = ["nbdkit", "-f", "-P", str(pid_file), *door, *map(str, words)]
    child = subprocess.Popen(argv)
    try:
        # The socket's name is there before anybody listens; the pid file comes after.
        wait_until(lambda: pid_file.exists() or child.poll() is not None)
        yield f"nbd://127.0.0.1:{port}" if port else f"nbd+unix:///?socket={place}", child
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def qemu_nbd(folder: Path, *words: str | Path) -> Iterator[str]:
    """qemu-nbd on a unix socket in the folder. It answers writes with structured replies, where nbdkit's are simple."""
    place = folder / "qemu-nbd.socket"
    child = subprocess.Popen(["qemu-nbd", "-t", "-e", "16", "-k", str(place), *map(str, words)])
    try:
        # Its name is there before it listens, and a SIGTERM that comes before it is ready is forgotten.
        wait_until(lambda: child.poll() is not None or _listens(place))
        yield f"nbd+unix:///?socket={place}"
    finally:
        child.terminate()
        child.wait(10)


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(place)) == 0
