"""Services that are forked from one process instead of being started as programs; they behave as subprocess.Popen does."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
# To load the modules takes a second on an idle machine.
START_SECONDS = 60


class ForkedService:
    """A service of the fork server. environment: all of its variables. log: a descriptor for what it prints."""

    def __init__(self, environment: Mapping[str, str], log: int) -> None:
        self._answers, theirs = socket.socketpair()
        with theirs:
            packet = json.dumps(dict(environment)).encode()
            socket.send_fds(_fork_server(), [packet], [log, theirs.fileno()])
        self._lines = self._answers.makefile()
        self._answers.settimeout(START_SECONDS)
        self.pid = int(self._lines.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, -n when signal n ended it; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        found = self._look(timeout)
        if found is None:
            raise subprocess.TimeoutExpired("service", timeout or 0)
        return found

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            self.returncode = int(self._lines.readline())
            self._answers.close()
        return self.returncode


_started: list[socket.socket] = []
_starting = threading.Lock()


def _fork_server() -> socket.socket:
    """The control socket of this process's fork server, which ends with this process."""
    with _starting:
        if not _started:
            _started.append(_start())
        return _started[0]


def _start() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NBDSVC_")}
    environment["PYTHONPATH"] = os.pathsep.join((str(HERE.parents[1]), str(HERE)))
    argv = [sys.executable, str(HERE / "fork_server.py")]
    with theirs:
        subprocess.Popen(argv, env=environment, stdin=theirs, start_new_session=True)
    return ours
