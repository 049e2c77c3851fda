"""nbdkit's filter `reconnect` (native/nbdkit/), with real servers that die, come back, refuse and differ."""

import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbd
import pytest
from waiting import wait_until

from nbdsvc.connectors.fuse_loop import reconnect_filter
from nbdsvc.units import MiB

SIZE = 8 * MiB
BLOCK = 4096
WRITERS, KILLS = 4, 20
# In front of a volume: a pread that ends when four are under way, and one that fails and is counted.
TOGETHER = """
import threading
barrier = threading.Barrier(4)
def pread(h, buf, offset, flags):
    barrier.wait(60)
"""
FAILING = """
def pread(h, buf, offset, flags):
    with __builtins__.open(log, "a") as file:
        file.write("x")
    nbdkit.set_error({error})
    raise OSError
"""
COMMON = """
import nbdkit
API_VERSION = 2
log = {log!r}
def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL
def open(readonly):
    return 1
def get_size(h):
    return 8 << 20
"""


class Nbdkit:
    """One on a unix socket, which ends by SIGKILL, whoever is connected, and may be started again."""

    def __init__(self, folder: Path, name: str) -> None:
        self.socket, self._pid_file = folder / f"{name}.sock", folder / f"{name}.pid"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        self.kill()
        for path in (self.socket, self._pid_file):
            path.unlink(missing_ok=True)
        argv = ["nbdkit", "-f", "-P", str(self._pid_file), "-U", str(self.socket), *words]
        child = self._process = subprocess.Popen(argv)
        wait_until(lambda: self._pid_file.exists() or child.poll() is not None)

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


class Server(Nbdkit):
    """Of a volume, unless it is started as another one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "server")
        self.folder, self.volume = folder, folder / "volume"
        with self.volume.open("wb") as file:
            file.truncate(SIZE)

    def start(self, *words: str) -> None:
        super().start(*(words or ("file", str(self.volume))))

    def start_plugin(self, text: str, **values: object) -> None:
        path = self.folder / "plugin.py"
        path.write_text(COMMON.format(log=str(self.folder / "log")) + (text.format(**values) if values else text))
        self.start("python", str(path))


@pytest.fixture
def server(short_folder: Path) -> Iterator[Server]:
    made = Server(short_folder)
    yield made
    made.kill()


@pytest.fixture
def front(server: Server) -> Iterator[Callable[..., str]]:
    """Starts nbdkit with the filter, in front of the server; its URI."""
    made = Nbdkit(server.folder, "front")

    def start(seconds: int = 60) -> str:
        made.start(f"--filter={reconnect_filter()}", "nbd", f"socket={server.socket}", f"reconnect-seconds={seconds}")
        return made.uri

    yield start
    made.kill()


def connected(uri: str) -> nbd.NBD:
    client = nbd.NBD()
    client.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    client.connect_uri(uri)
    return client


class Writer(threading.Thread):
    """Writes and reads back blocks of its own, several at once, until `stop`."""

    def __init__(self, uri: str, index: int) -> None:
        super().__init__(daemon=True)
        self._client, self._random, self.rounds, self.error = connected(uri), random.Random(index), 0, ""
        self._blocks = range(index, SIZE // BLOCK, WRITERS)
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._round()
                self.rounds += 1
        except (nbd.Error, AssertionError) as error:
            self.error = repr(error)

    def _round(self) -> None:
        contents = {block * BLOCK: self._random.randbytes(BLOCK) for block in self._random.sample(self._blocks, 8)}
        buffers = {at: nbd.Buffer.from_bytearray(bytearray(content)) for at, content in contents.items()}
        for cookie in [self._client.aio_pwrite(buffer, at) for at, buffer in buffers.items()]:
            while not self._client.aio_command_completed(cookie):
                self._client.poll(-1)
        self._client.flush()
        assert all(self._client.pread(BLOCK, offset) == content for offset, content in contents.items())

    def stop(self) -> None:
        self._stopped.set()
        self.join(60)
        assert not self.is_alive() and not self.error, self.error


def test_requests_outlive_their_server(server: Server, front: Callable[[], str]) -> None:
    """Several clients with several requests under way, and a server that is killed again and again: no error, no byte lost."""
    server.start()
    uri = front()
    writers = [Writer(uri, index) for index in range(WRITERS)]
    for writer in writers:
        writer.start()
    for at in range(KILLS):
        before = [writer.rounds for writer in writers]
        wait_until(lambda now=before: all(w.rounds > old or w.error for w, old in zip(writers, now, strict=True)))
        server.kill()
        time.sleep(0.02 * (at % 3))  # at once, and with attempts between
        server.start()
    for writer in writers:
        writer.stop()


def test_requests_go_side_by_side(server: Server, front: Callable[[], str]) -> None:
    """Four, of one connection, each of which has its answer when all of them are at the server."""
    server.start_plugin(TOGETHER)
    client = connected(front())
    buffers = [nbd.Buffer(BLOCK) for _ in range(4)]
    end = time.monotonic() + 60
    for cookie in [client.aio_pread(buffer, at * BLOCK) for at, buffer in enumerate(buffers)]:
        while not client.aio_command_completed(cookie):
            client.poll(1000)
            assert time.monotonic() < end


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EPERM])
def test_a_server_that_answers_with_an_error_is_not_asked_again(
    server: Server, front: Callable[[], str], error: int
) -> None:
    """The client gets it at once."""
    server.start_plugin(FAILING, error=error)
    client = connected(front())
    with pytest.raises(nbd.Error) as caught:
        client.pread(BLOCK, 0)
    assert (caught.value.errnum, (server.folder / "log").read_text()) == (error, "x")


def test_without_a_server_in_time(server: Server, front: Callable[..., str]) -> None:
    """An error, for a request and for a connection; a server that comes back later serves both."""
    server.start()
    uri = front(seconds=1)
    client = connected(uri)
    server.kill()
    with pytest.raises(nbd.Error) as caught:
        client.pread(BLOCK, 0)
    assert caught.value.errnum == errno.ESHUTDOWN
    with pytest.raises(nbd.Error):
        connected(uri)
    server.start()
    assert client.pread(BLOCK, 0) == connected(uri).pread(BLOCK, 0) == bytes(BLOCK)


def test_a_client_that_comes_before_the_server(server: Server, front: Callable[[], str]) -> None:
    """Its connection waits, too."""
    uri = front()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(connected, uri)
        time.sleep(0.1)
        assert not coming.done()
        server.start()
        assert coming.result(60).get_size() == SIZE


@pytest.mark.parametrize(
    "offers", [("memory", "4M"), ("--readonly", "memory", "8M"), ("--filter=nozero", "memory", "8M")]
)
def test_a_server_that_offers_less(server: Server, front: Callable[..., str], offers: tuple[str, ...]) -> None:
    """Smaller, read-only, without zeroes: an error, and not the end of the client's nbdkit."""
    server.start("memory", "8M")
    uri = front(seconds=1)
    client = connected(uri)
    server.start(*offers)
    for request in (lambda: client.pread(BLOCK, 6 * MiB), lambda: client.pwrite(bytes(BLOCK), 0)):
        with pytest.raises(nbd.Error) as caught:
            request()
        assert caught.value.errnum == errno.ESHUTDOWN
    server.start("memory", "16M")
    assert client.pread(BLOCK, 6 * MiB) == bytes(BLOCK)


def test_extents_are_those_of_one_server(server: Server, front: Callable[[], str]) -> None:
    """And every other command comes to the server that there is."""
    with server.volume.open("r+b") as file:
        os.pwrite(file.fileno(), b"x" * MiB, 2 * MiB)
    server.start()
    client = connected(front())
    found: list[tuple[int, int]] = []
    for _ in range(2):
        found.clear()
        client.block_status(
            SIZE, 0, lambda _c, _o, entries, _e: found.extend(zip(entries[::2], entries[1::2], strict=True))
        )
        assert found == [(2 * MiB, 3), (MiB, 0), (5 * MiB, 3)]
        server.start()
    client.zero(MiB, 2 * MiB)
    server.start()
    client.trim(MiB, 2 * MiB)
    server.start()
    client.cache(MiB, 2 * MiB)
    server.start()
    client.pwrite(b"y" * BLOCK, 0, nbd.CMD_FLAG_FUA)
    server.start()
    client.flush()
    assert server.volume.read_bytes() == b"y" * BLOCK + bytes(SIZE - BLOCK)


def test_a_time_that_is_none(server: Server) -> None:
    """nbdkit names the parameter, and does not start."""
    argv = ["nbdkit", "-U", "-", f"--filter={reconnect_filter()}", "nbd", "socket=/x", "reconnect-seconds=soon"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode and "error: reconnect-seconds: " in done.stderr
