"""Bytes that the kernel sends from a file to an NBD server: both kinds of replies, servers that fail, die, stall or lie."""

import itertools
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from images import KiB, MiB, qemu_img, write_extents
from nbdkits import nbdkit, qemu_nbd
from waiting import end_of

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy

SIZE = 24 * MiB
# Longer than what is mapped at least, one of them longer than all requests that are in flight, one at odd places.
EXTENTS = [(0, 300 * KiB, 1), (MiB + 123, 3 * MiB, 2), (8 * MiB, 9 * MiB, 3), (SIZE - 700 * KiB - 1, 2 * MiB, 4)]
WRITE_HEAD = struct.pack(">IHH", 0x25609513, 0, 1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    (tmp_path / "target").write_bytes(b"\xee" * SIZE)
    return tmp_path / "raw"


def send(path: Path, uri: str, format: str = "raw", **fields: Callable[[], bool]) -> None:
    with sources.open_path(path, format) as source, sinks.open_nbd(uri) as sink:
        copy(source, sink, **fields)


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_structured_replies(tmp_path: Path, raw: Path, format: str) -> None:
    """To qemu-nbd, from a raw file and from a qcow2 image's clusters: the same bytes over what was there."""
    image = tmp_path / "image"
    qemu_img("convert", "-f", "raw", "-O", format, raw, image)
    with qemu_nbd(tmp_path, "-f", "raw", tmp_path / "target") as uri:
        send(image, uri, format)
    assert (tmp_path / "target").read_bytes() == raw.read_bytes()


def test_a_structured_error(tmp_path: Path, raw: Path) -> None:
    """ENOSPC in a chunk with words."""
    disk = f"driver=blkdebug,image.driver=file,image.filename={tmp_path / 'target'}"
    with (
        qemu_nbd(tmp_path, "--image-opts", f"{disk},inject-error.0.event=pwritev,inject-error.0.errno=28") as uri,
        pytest.raises(errors.OutOfSpace, match="No space left"),
    ):
        send(raw, uri)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    places=st.lists(
        st.none() | st.sampled_from([0, 511, 512, 64 * KiB - 1]) | st.integers(0, 64 * KiB - 1), min_size=2, max_size=70
    )
)
def test_zeros_that_are_stored(tmp_path: Path, places: list[int | None]) -> None:
    """Grains with one byte that is not zero, wherever it is, are sent; those without are zeros there, and are not data."""
    content = bytearray(len(places) * 64 * KiB)
    for grain, place in enumerate(places):
        if place is not None:
            content[grain * 64 * KiB + place] = 1
    (tmp_path / "stored").write_bytes(content)
    (tmp_path / "target").write_bytes(b"\xee" * len(content))
    with (
        nbdkit(tmp_path, "file", tmp_path / "target") as (uri, _),
        sources.open_path(tmp_path / "stored") as source,
        sinks.open_nbd(uri) as sink,
    ):
        assert copy(source, sink).data == sum(place is not None for place in places) * 64 * KiB
    assert (tmp_path / "target").read_bytes() == content


def test_by_tcp(tmp_path: Path, raw: Path) -> None:
    """As by a unix socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with nbdkit(tmp_path, "file", tmp_path / "target", port=port) as (uri, _):
        send(raw, uri)
    assert (tmp_path / "target").read_bytes() == raw.read_bytes()


def test_a_server_that_stalls_does_not_hold_a_cancel(tmp_path: Path, raw: Path) -> None:
    """Nothing is answered, and then the socket takes nothing more: a copy that is stopped does not wait for it."""
    looks = itertools.count()
    with (
        nbdkit(tmp_path, "--filter=delay", "file", tmp_path / "target", "delay-write=600") as (uri, _),
        pytest.raises(Stopped),
    ):
        end_of(lambda: send(raw, uri, should_stop=lambda: next(looks) > 10))


def test_a_server_that_dies(tmp_path: Path, raw: Path) -> None:
    """A readable error, soon, and no signal that ends us."""
    words = ["--filter=delay", "file", tmp_path / "target", "delay-write=1"]
    with nbdkit(tmp_path, *words) as (uri, child):
        threading.Timer(0.3, child.kill).start()
        with pytest.raises(errors.WriteFailed, match=r"reset|pipe|not connected"):
            send(raw, uri)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(moment=st.floats(0, 0.06), left=st.integers(0, SIZE - 1))
def test_a_source_that_shrinks_while_it_is_sent(tmp_path: Path, raw: Path, moment: float, left: int) -> None:
    """ReadFailed, or it was too late to matter and all the bytes are there."""
    write_extents(raw, SIZE, EXTENTS)
    before = raw.read_bytes()
    with (
        nbdkit(tmp_path, "--filter=delay", "file", tmp_path / "target", "delay-write=5ms") as (uri, _),
        sources.open_path(raw) as source,
        sinks.open_nbd(uri) as sink,
    ):
        shrink = threading.Timer(moment, lambda: os.truncate(raw, left))
        shrink.start()
        try:
            copy(source, sink)
        except errors.ReadFailed as error:
            assert "shorter" in str(error)
        else:
            assert (tmp_path / "target").read_bytes() == before
        finally:
            shrink.join()


class Liar:
    """Stands between a client and a server, and changes what the server says once a write was requested."""

    def __init__(self, folder: Path, server: str, lie: Callable[[bytes], bytes]) -> None:
        self._server, self._lie, self._written = server, lie, threading.Event()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / "liar.socket"))
        self._door.listen()
        self.uri = f"nbd+unix:///?socket={folder / 'liar.socket'}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, server = self._door.accept()[0], socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            threading.Thread(target=self._pump, args=(client, server, self._listen), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, self._say), daemon=True).start()

    def _pump(self, origin: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
        try:
            while words := origin.recv(1 << 16):
                target.sendall(change(words))
        except OSError:
            pass
        for each in (origin, target):  # close alone does not wake a thread that reads
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _listen(self, words: bytes) -> bytes:
        if WRITE_HEAD in words:
            self._written.set()
        return words

    def _say(self, words: bytes) -> bytes:
        return self._lie(words) if self._written.is_set() else words


LIES: dict[str, Callable[[bytes], bytes]] = {
    "no magic": lambda words: b"\0" * len(words),
    "another's reply": lambda words: words[:-1] + b"\x7f",
    "the same reply twice": lambda words: words[:16] * 2,
    "an endless error": lambda words: struct.pack(">IHHQI", 0x668E33EF, 1, 0x8001, 0, 0xFFFFFFFF),
    "an error that is none": lambda words: struct.pack(">IHHQIIH", 0x668E33EF, 1, 0x8001, 0, 6, 0, 0),
    "a chunk that is not the last": lambda words: struct.pack(">IHHQI", 0x668E33EF, 0, 0, 0, 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies(tmp_path: Path, raw: Path, lie: str) -> None:
    """A reply that none of our requests can have is an error, never taken for the one that was expected."""
    raw.write_bytes(b"a" * SIZE)  # no piece of it is so small, or zeros, that libnbd writes it
    with nbdkit(tmp_path, "--no-sr", "file", tmp_path / "target") as (uri, _):
        liar = Liar(tmp_path, uri.partition("socket=")[2], LIES[lie])
        with pytest.raises(errors.WriteFailed, match="Protocol error"):
            send(raw, liar.uri)
