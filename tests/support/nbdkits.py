"""nbdkit as a peer: started, waited for, ended."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nbdkit(folder: Path, *words: str | Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server on a unix socket in the folder: its URI and its process."""
    number = len(list(folder.glob("nbdkit-*.pid")))
    socket, pid_file = folder / f"nbdkit-{number}.socket", folder / f"nbdkit-{number}.pid"
    argv = ["nbdkit", "-f", "-P", str(pid_file), "-U", str(socket), *map(str, words)]
    child = subprocess.Popen(argv)
    try:
        # The socket's name is there before anybody listens; the pid file comes after.
        for _ in range(500):
            if pid_file.exists() or child.poll() is not None:
                break
            time.sleep(0.02)
        yield f"nbd+unix:///?socket={socket}", child
    finally:
        child.terminate()
        child.wait(10)
