"""Connects a device's client to the server of its export, wherever that is now: `dial.py NBDINFO FILE COMMAND ...`.

The command is nbdkit, whose nbd plugin connects to a unix socket beside FILE; its filter lets it do so again when the
connection has ended (native/nbdkit/reconnect.c). This program listens there in a process of its own, which ends with nbdkit.
For each connection it finds the server, and passes bytes in both directions, which for TLS are ciphertext. FILE
(server_file.py) has the server's address, and gets another one where the volume has moved.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path

from nbdsvc.connectors import redirected, server_file

# As long as a device of the kernel's client waits for its server (kernel_nbd.py): a storage host that restarts tests its
# hardware for minutes.
PATIENCE_SECONDS = 900.0
# Of the filter: it is here that a server is waited for. More than one attempt, because a server may leave while a connection
# to it is made; one that was made and is refused again and again is an error.
RECONNECT_SECONDS = 20
# Seconds between two attempts: a volume that goes to another host is there within the first ones.
_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS, _FIRST_SECONDS = 0.1, 0.02, 2.0
# A server whose host is gone says nothing: after so many seconds without a sign of it, a new connection is made.
_SILENT_SECONDS = 30
# nbdkit with nothing to wait for ends in much less.
_END_SECONDS = 1.0
_PIECE = 1 << 20
SOCKET = "dial.sock"
# nbdkit's option.
EXIT_WITH_PARENT = "--exit-with-parent"
_PR_SET_PDEATHSIG = 1
# Descriptors that are inherited: from the first behind the standard streams, below the usual limit.
_FIRST_FD, _MOST_FD = 3, 1024


def main(argv: list[str]) -> None:
    """Becomes the command; a child listens. Raises OSError, where one of them cannot be started."""
    nbdinfo, path, *command = argv
    # By the folder's descriptor, which nbdkit inherits: a path of a socket has 107 bytes at most (unix(7)).
    folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
    os.set_inheritable(folder, True)
    listen = f"/proc/self/fd/{folder}/{SOCKET}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(listen)
    listening.listen(8)
    user = os.getppid() if EXIT_WITH_PARENT in command else None
    parent = os.getpid()
    if os.fork() == 0:
        try:
            _serve(parent, user, _Search(nbdinfo, path), listening)
        finally:
            os._exit(1)
    listening.close()
    os.execv(command[0], [*command, f"socket={listen}"])


def _serve(parent: int, user: int | None, search: "_Search", listening: socket.socket) -> None:
    """Ends with the parent. The sockets of nbdkit's own clients, which it gets by number, are not kept open here.

    user: the pid of the process that nbdkit ends with; None where it ends with none.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    own = listening.fileno()
    os.closerange(_FIRST_FD, own)
    os.closerange(own + 1, _MOST_FD)
    if user is not None:
        threading.Thread(target=_end_with, args=(user, parent), daemon=True).start()
    while True:
        client = listening.accept()[0]
        threading.Thread(target=search.attend, args=(client,), daemon=True).start()


def _end_with(user: int, parent: int) -> None:
    """Kills nbdkit some time after its user's end. By itself it ends only when all requests have an answer, which may take as
    long as the server is away, and there is none who waits for them any more.
    """
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(user)], [], [])
    time.sleep(_END_SECONDS)
    if os.getppid() == parent:
        os.kill(parent, signal.SIGKILL)


class _Search:
    """For the server, of all connections. since: when it was away first; None while it is there."""

    def __init__(self, nbdinfo: str, path: str) -> None:
        self._nbdinfo, self._path = nbdinfo, path
        self._since: float | None = None

    def attend(self, client: socket.socket) -> None:
        """Connect the client, and pass on what both say; close its connection where no server is found for long."""
        with client:
            while not _has_gone(client):
                try:
                    server = _connect(self._nbdinfo, self._path)
                except (OSError, ValueError, redirected.MovingError):
                    seconds = self._away()
                    if seconds > PATIENCE_SECONDS:
                        return
                    time.sleep(_FIRST_PAUSE_SECONDS if seconds < _FIRST_SECONDS else _PAUSE_SECONDS)
                    continue
                self._since = None
                _pass_on(client, server)
                return

    def _away(self) -> float:
        """Seconds for which the server has been away."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since


def _has_gone(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def _connect(nbdinfo: str, path: str) -> socket.socket:
    """To the server of the volume; where that is another one, the file says so, now. A look at the other one can wait until
    it refuses the client, or says nothing.
    """
    server = server_file.read(path)
    if uri := redirected.look(nbdinfo, server.uri, server.export):
        server = server.at(uri)
        server_file.write(path, server)
    sock = socket.create_connection((server.host, server.port), timeout=redirected.ANSWER_SECONDS)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 5)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_SECONDS * 1000)
    return sock


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    """Until one side has ended; then both have."""
    with server:
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """The kernel moves the bytes, by a pipe: none is copied into this process."""
    pipe, into = os.pipe()
    try:
        while length := os.splice(source.fileno(), into, _PIECE):
            while length:
                length -= os.splice(pipe, target.fileno(), length)
    except OSError:
        pass  # one side has ended
    finally:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        os.close(pipe)
        os.close(into)
