"""The private channel of a server, when threads or memory run out."""

import contextlib
import socket
from pathlib import Path
from typing import Any

from nbdsvc.exports.nbd.channel import SOCKET
from nbdsvc.exports.nbd.control import Control, ServedVolume, _Switch


class _WithoutThreads(Control):
    """At first no thread can be started, as by RLIMIT_NPROC."""

    failures = 1

    def _hold(self, sock: socket.socket, request: dict[str, Any]) -> None:
        sock.sendall(b"held\n")

    def _attend(self, sock: socket.socket) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("can't start new thread")
        super()._attend(sock)


def test_a_failed_start_of_a_thread_does_not_end_the_channel(short_folder: Path) -> None:
    """The next request is answered."""
    volume = ServedVolume(lambda: None, lambda *_: None, set(), None, None)
    _WithoutThreads({"folder": str(short_folder)}, volume).listen()
    answers = []
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(short_folder / SOCKET))
            answers.append(_answer(sock))
    assert answers == [b"", b"held\n"]


def test_a_silent_caller_keeps_no_other_one_waiting(short_folder: Path) -> None:
    """Each caller has its own thread."""
    volume = ServedVolume(lambda: None, lambda *_: None, set(), None, None)
    channel = _WithoutThreads({"folder": str(short_folder)}, volume)
    channel.failures = 0
    channel.listen()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(short_folder / SOCKET))
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(5)  # they are silent for ten
        sock.connect(str(short_folder / SOCKET))
        assert _answer(sock) == b"held\n"


def _answer(sock: socket.socket) -> bytes:
    """The answer; empty where the server has closed the connection, before the request or behind it."""
    try:
        sock.sendall(b'{"do": "hold", "hold_ms": 1}\n')
        return sock.recv(100)
    except (BrokenPipeError, ConnectionResetError):
        return b""


def test_a_switch_that_fails_in_any_way_is_no_switch() -> None:
    """Else the service would take the volume to be at its destination, and would remove the source."""

    def fail() -> None:
        raise MemoryError

    switch = _Switch(fail)
    switch.run()
    assert isinstance(switch.error, MemoryError)
