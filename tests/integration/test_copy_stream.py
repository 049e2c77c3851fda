"""Copies to a stream: any image through pipes, sockets and FIFOs, readers that go away or sleep, full disks, refusals."""

import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import EXTENTS, MiB, qemu_img, write_extents

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy, digest
from nbdsvc.datapath.digests import Digests

SHAPES = st.sampled_from(["raw", "plain", "zlib", "zstd", "extended"])
NOBODY = 65534
OPTIONS = {
    "zlib": ["-c", "-o", "compression_type=zlib,cluster_size=4096"],
    "zstd": ["-c", "-o", "compression_type=zstd"],
    "extended": ["-o", "extended_l2=on"],
}


class Reader:
    """Reads all of a descriptor, on a thread of its own."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "rb")
        self._content = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._file:
            self._content = self._file.read()

    def content(self) -> bytes:
        self._thread.join(60)
        return self._content


def make_pipe() -> tuple[int, int]:
    return os.pipe()


def make_sockets() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


MAKERS = pytest.mark.parametrize("make", [make_pipe, make_sockets], ids=["pipe", "socket"])


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "nbdsvc", "copy", *map(str, words)]


def make_raw(folder: Path, size: int = 24 * MiB) -> Path:
    (folder / "raw").write_bytes(os.urandom(size // 2))
    os.truncate(folder / "raw", size)
    return folder / "raw"


@settings(max_examples=40)
@given(EXTENTS, st.integers(1, 20 * MiB), SHAPES, st.integers(1, 6))
def test_a_stream_is_what_qemu_reads(
    tmp_path_factory: pytest.TempPathFactory, extents: list[tuple[int, int, int]], size: int, shape: str, threads: int
) -> None:
    """Any disk in any format, by any number of threads: the bytes that qemu-img reads, in order, and their digests."""
    folder = tmp_path_factory.mktemp("stream")
    raw, image, format = folder / "raw", folder / "image", "raw" if shape == "raw" else "qcow2"
    write_extents(raw, size, extents)
    qemu_img("convert", "-f", "raw", "-O", format, *OPTIONS.get(shape, []), raw, image)
    qemu_img("convert", "-f", format, "-O", "raw", image, folder / "theirs")
    from_fd, to_fd = os.pipe()
    reader = Reader(from_fd)
    with sources.open_path(image, format) as source, sinks.open_stream(to_fd, "pipe") as sink:
        os.close(to_fd)
        made = Digests(source.size)
        result = copy(source, sink, threads=threads, digests=made)
    ours, theirs = reader.content(), (folder / "theirs").read_bytes()
    assert ours == theirs
    assert result.size == len(ours) >= size  # QEMU rounds up to sectors
    with sources.open_path(folder / "theirs") as whole:
        made.compare(digest(whole, made.size), "theirs")


def test_another_users_pipe(tmp_path: Path) -> None:
    """A pipe that may not be opened once more gets the same bytes."""
    raw = make_raw(tmp_path)
    from_fd, to_fd = os.pipe()
    reader = Reader(from_fd)
    os.seteuid(NOBODY)
    try:
        sink = sinks.open_stream(to_fd, "pipe")
    finally:
        os.seteuid(0)
    os.close(to_fd)
    with sources.open_path(raw) as source, sink:
        copy(source, sink)
    assert reader.content() == raw.read_bytes()


def test_the_command_pipes_and_appends(tmp_path: Path) -> None:
    """`-` and /dev/stdout carry the bytes and nothing else, to a pipe or behind what a file holds; words go to stderr."""
    raw, out = make_raw(tmp_path), tmp_path / "out"
    for name in ("-", "/dev/stdout"):
        done = subprocess.run(command(raw, name, "--json"), capture_output=True, timeout=60)
        assert (done.returncode, done.stdout == raw.read_bytes()) == (0, True), done.stderr
        assert json.loads(done.stderr)["size"] == 24 * MiB
    out.write_bytes(b"before")
    with out.open("ab") as file:
        ended = subprocess.run(command(raw, "-", "--limit", "1G"), stdout=file, stderr=subprocess.PIPE, timeout=60)
    assert b"24.0 MiB in" in ended.stderr
    assert out.read_bytes() == b"before" + raw.read_bytes()


def test_a_device_that_loses_bytes_behind_a_redirection(tmp_path: Path) -> None:
    """What a block device took and could not store is an error: the copy ends when the bytes are there, not before."""
    raw, small = make_raw(tmp_path), tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        (small / "disk").touch()
        os.truncate(small / "disk", 24 * MiB)
        words = ["losetup", "--find", "--show", str(small / "disk")]
        device = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        try:
            with Path(device).open("r+b") as file:
                done = subprocess.run(command(raw, "-"), stdout=file, stderr=subprocess.PIPE, text=True, timeout=60)
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert (done.returncode, "nbdsvc: " in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


def test_a_fifo(tmp_path: Path) -> None:
    """A FIFO gets the bytes as a pipe does, stays a FIFO, and the summary is on standard output as ever."""
    raw, fifo = make_raw(tmp_path), tmp_path / "fifo"
    os.mkfifo(fifo)
    child = subprocess.Popen(command(raw, fifo, "--json"), stdout=subprocess.PIPE)
    assert fifo.read_bytes() == raw.read_bytes()
    summary = child.communicate(timeout=60)[0]
    assert (child.returncode, json.loads(summary)["data"] >= 12 * MiB, fifo.is_fifo()) == (0, True, True)


@MAKERS
def test_a_reader_that_goes_away(tmp_path: Path, make: Callable[[], tuple[int, int]]) -> None:
    """The copy fails with a message and a status, not by a signal."""
    from_fd, to_fd = make()
    child = subprocess.Popen(command(make_raw(tmp_path), "-"), stdout=to_fd, stderr=subprocess.PIPE, text=True)
    os.close(to_fd)
    assert os.read(from_fd, 10)
    os.close(from_fd)
    said = child.communicate(timeout=60)[1]
    assert (child.returncode, "its reader is gone" in said, "Traceback" in said) == (1, True, False), said


@MAKERS
def test_a_reader_that_sleeps(tmp_path: Path, make: Callable[[], tuple[int, int]]) -> None:
    """A copy whose reader does not read ends when it is stopped, and a reader that shares the pipe finds its flags as before."""
    from_fd, to_fd = make()
    flags = fcntl.fcntl(to_fd, fcntl.F_GETFL)
    stops = [False] * 10 + [True] * 1000  # half a second, in which the pipe becomes full
    with sources.open_path(make_raw(tmp_path)) as source, sinks.open_stream(to_fd, "pipe") as sink:
        with pytest.raises(Stopped):
            copy(source, sink, should_stop=lambda: stops.pop(0))
        assert fcntl.fcntl(to_fd, fcntl.F_GETFL) == flags
    # It was stopped once, and polled for hardly more than the tick in which it ended.
    assert len(stops) > 990
    os.close(from_fd)
    os.close(to_fd)


def test_a_source_that_fails_while_the_reader_sleeps(tmp_path: Path) -> None:
    """The error is the source's, at once, though what was read before cannot leave."""

    def pread(at: int, length: int) -> bytes:
        if at >= 16 * MiB:  # which a thread reaches while four others hold what is before
            raise errors.ReadFailed(source="web", offset=at, reason="no answer")
        return b"x" * length

    from_fd, to_fd = os.pipe()
    with (
        sources.open_callback(pread, 64 * MiB, "raw", "web") as source,
        sinks.open_stream(to_fd, "pipe") as sink,
        pytest.raises(errors.ReadFailed, match="no answer"),
    ):
        copy(source, sink, threads=8)
    os.close(from_fd)
    os.close(to_fd)


def test_a_full_disk(tmp_path: Path) -> None:
    """Behind a redirection too, it is an error with a status."""
    raw, small = make_raw(tmp_path), tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        for place in (Path("/dev/full"), small / "out"):
            with place.open("wb") as file:
                done = subprocess.run(command(raw, "-"), stdout=file, stderr=subprocess.PIPE, text=True, timeout=60)
            assert (done.returncode, "No space left" in done.stderr) == (1, True), done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    "option", ["--verify", "--journal=x", "--force", "--format=qcow2", "--compress=zlib", "--destination-is-zero"]
)
def test_what_a_stream_cannot_do(tmp_path: Path, option: str) -> None:
    """Options that want to read, replace or pack are refused with their name, and no byte is sent."""
    done = subprocess.run(command(make_raw(tmp_path), "-", option), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"Invalid value for {option.partition('=')[0]}:" in done.stderr


def test_a_terminal_and_a_closed_output_are_refused(tmp_path: Path) -> None:
    """Nobody wants a disk on the screen; and without standard output nothing is written to another file in its place."""
    raw = make_raw(tmp_path)
    ours, theirs = pty.openpty()
    done = subprocess.run(command(raw, "-"), stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, "is a terminal" in done.stderr) == (4, True), done.stderr
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command(raw, "-")], capture_output=True, text=True)
    assert (closed.returncode, "is closed" in closed.stderr) == (4, True), closed.stderr
