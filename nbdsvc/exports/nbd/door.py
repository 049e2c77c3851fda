"""Limits the connections of a server: nbdkit does not limit their number, and waits for a handshake without a deadline.

The plugin loads this module into nbdkit. A connection that has not opened the export within HANDSHAKE_SECONDS is shut
down. nbdkit does not report the descriptor of a connection, but the kernel does: the thread of a handshake waits in a
system call on this descriptor (proc(5), /proc/PID/task/TID/syscall).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Each connection costs 16 threads. Clients of one attachment have up to 16 connections, and reconnect before the old
# ones have ended.
MAX_CONNECTIONS = 32
# The most connections in a handshake, so that clients without the key cannot use up all connections.
MAX_HANDSHAKES = 16
# Longer than the handshake of a working client takes, even with TLS on a loaded host.
HANDSHAKE_SECONDS = 10.0
POLL_SECONDS = 1.0


class _Visitor(NamedTuple):
    """A handshake. started: the start time of its thread, whose id may be used again; end: the deadline (monotonic).

    It is no dataclass, because the import of dataclasses would make each start of a server 5 ms longer.
    """

    started: str
    end: float


class Door:
    """Counts the connections of one server, and shuts down late handshakes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, _Visitor] = {}
        self._watching = False

    def arrive(self) -> None:
        """Record that a handshake begins on this thread, also again. Raises PermissionError when there are too many."""
        thread = threading.get_native_id()
        with self._lock:
            self._waiting = {tid: it for tid, it in self._waiting.items() if _started(tid) == it.started}
            if len(self._waiting) >= MAX_HANDSHAKES or _connections() > MAX_CONNECTIONS:
                raise PermissionError("too many connections")
            self._waiting[thread] = _Visitor(_started(thread), time.monotonic() + HANDSHAKE_SECONDS)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="door", daemon=True).start()

    def enter(self) -> None:
        """Record that the handshake on this thread has ended."""
        with self._lock:
            self._waiting.pop(threading.get_native_id(), None)

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            with self._lock:
                self._waiting = {tid: it for tid, it in self._waiting.items() if _started(tid) == it.started}
                for thread, visitor in self._waiting.items():
                    if visitor.end < time.monotonic():
                        _shut(thread)
                if not self._waiting:
                    self._watching = False
                    return


def _started(thread: int) -> str:
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _connections() -> int:
    """The number of connected sockets of this process."""
    return sum(1 for path in Path("/proc/self/fd").iterdir() if _is_connected(int(path.name)))


def _is_connected(fd: int) -> bool:
    with contextlib.suppress(OSError), _borrowed(fd) as sock:
        sock.getpeername()  # raises an error for a listening socket, and for a descriptor that is no socket
        return True
    return False


def _shut(thread: int) -> None:
    """Shut the thread's connection down, which nbdkit then closes. A thread that is not in a system call is left until
    the next poll.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        fd = int(Path(f"/proc/self/task/{thread}/syscall").read_text().split()[1], 16)
        if _is_connected(fd):
            with _borrowed(fd) as sock:
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()
