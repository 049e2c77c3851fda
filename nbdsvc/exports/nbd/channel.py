"""The unix socket of a server's private channel: a thread for each caller, which reads a line and writes the reply to it.

The plugin loads this module into nbdkit. What the lines mean is in control.py.
"""

import contextlib
import json
import socket
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

SOCKET = "ctl.sock"
# The most bytes of a request, and the seconds in which it has to arrive: one short line from a process of this user.
_LONGEST, _SECONDS = 1 << 16, 10.0
# Callers at a time, each of which has a thread: the service has a few, and others are not let in.
_CALLERS = 32
# A failing accept must not keep the server's processor.
_PAUSE_SECONDS = 0.05


class Channel(ABC):
    """folder: the export's. A subclass has the replies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = threading.BoundedSemaphore(_CALLERS)

    @abstractmethod
    def _answer(self, request: bytes) -> dict[str, Any]:
        """The reply to a line."""

    @abstractmethod
    def _hold(self, sock: socket.socket, request: dict[str, Any]) -> None:
        """Reply to a hold, while it lasts and at its end."""

    def listen(self) -> None:
        """Start the thread. A server that cannot make the socket serves its volume without the channel."""
        path = self._folder / SOCKET
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen(8)
            threading.Thread(target=self._serve, args=(listening,), name="control", daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        """Each caller has a thread of its own: one that is silent, or a hold, keeps no other one waiting."""
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:  # no descriptor is left, for a while
                time.sleep(_PAUSE_SECONDS)
                continue
            sock.settimeout(_SECONDS)
            if not self._room.acquire(blocking=False):
                sock.close()
                continue
            try:
                self._attend(sock)
            except RuntimeError:  # no thread is left, for a while
                self._room.release()
                sock.close()
                time.sleep(_PAUSE_SECONDS)

    def _attend(self, sock: socket.socket) -> None:
        threading.Thread(target=self._take, args=(sock,), name="caller", daemon=True).start()

    def _take(self, sock: socket.socket) -> None:
        try:
            with sock, contextlib.suppress(OSError):  # its caller went away
                said = line(sock)
                if _is_hold(said):
                    self._hold(sock, json.loads(said))
                else:
                    send(sock, self._answer(said))
        finally:
            self._room.release()


def _is_hold(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["do"] == "hold")
    except Exception:  # whatever is wrong with it is in the reply to it
        return False


def send(sock: socket.socket, message: dict[str, Any]) -> None:
    """Write a request or a reply. Raises OSError."""
    sock.sendall(json.dumps(message).encode() + b"\n")


def line(sock: socket.socket) -> bytes:
    """Read a line, with its end, or what came of it before the other end was gone. Raises OSError."""
    content = b""
    while not content.endswith(b"\n") and len(content) < _LONGEST:
        more = sock.recv(_LONGEST)
        if not more:
            break
        content += more
    return content
