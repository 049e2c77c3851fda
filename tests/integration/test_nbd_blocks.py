"""Copies from and to NBD servers that take requests only of some sizes and alignments, and to larger destinations."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import KiB, MiB
from nbdkits import nbdkit, qemu_nbd

from nbdsvc import errors
from nbdsvc.cli import cli
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import copy as copy_bytes

STRICT = ("--filter=blocksize-policy",)


def copy(*words: str | Path) -> None:
    cli.main(["copy", *map(str, words)], standalone_mode=False)


def policy(least: int, most: int) -> list[str]:
    return [
        "blocksize-error-policy=error",
        f"blocksize-minimum={least}",
        f"blocksize-preferred={max(least, 4096)}",
        f"blocksize-maximum={most}",
    ]


def sparse(path: Path, size: int) -> bytes:
    """Data at odd places, zeros between."""
    path.write_bytes(b"")
    os.truncate(path, size)
    with path.open("r+b") as file:
        for at, length in ((0, 100), (512 * KiB + 512, 700_000), (3 * MiB - 1, MiB), (size - 513, 513)):
            file.seek(at)
            file.write(os.urandom(length))
    return path.read_bytes()


@pytest.mark.parametrize(("least", "most"), [(4096, 65536), (65536, 65536), (1, 1 * MiB), (512, 512 * 129)])
@pytest.mark.parametrize("zeroes", [True, False], ids=["zeroes", "no zeroes"])
def test_pieces_are_what_the_server_takes(tmp_path: Path, least: int, most: int, zeroes: bool) -> None:
    """A server that refuses any other size and alignment: read from, written to with an odd end, and verified."""
    size = 6 * MiB
    content = sparse(tmp_path / "raw", size)
    (tmp_path / "odd").write_bytes(content[: 5 * MiB + 777])
    (tmp_path / "disk").write_bytes(b"\xee" * size)
    filters = [*STRICT, *([] if zeroes else ["--filter=nozero"])]
    with nbdkit(tmp_path, *filters, "file", tmp_path / "disk", *policy(least, most)) as (uri, _):
        copy(tmp_path / "raw", uri, "--verify")
        copy(uri, tmp_path / "back", "--verify")
        assert (tmp_path / "back").read_bytes() == content
        with pytest.raises(errors.OutOfSpace):
            (tmp_path / "large").write_bytes(bytes(size + 1))
            copy(tmp_path / "large", uri)
    (tmp_path / "disk").write_bytes(b"\xee" * size)
    with nbdkit(tmp_path, *filters, "file", tmp_path / "disk", *policy(least, most)) as (uri, _):
        copy(tmp_path / "odd", uri, "--verify")
    assert (tmp_path / "disk").read_bytes() == content[: 5 * MiB + 777] + b"\xee" * (size - 5 * MiB - 777)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300 * KiB), st.integers(1, 200 * KiB)), max_size=6),
    st.integers(0, 5),
    st.booleans(),
)
def test_any_holes_and_any_policy(
    tmp_path_factory: pytest.TempPathFactory, extents: list[tuple[int, int]], shift: int, sent: bool
) -> None:
    """Whatever is data and whatever the server's minimum, the bytes arrive, sent by the kernel or by libnbd."""
    folder = tmp_path_factory.mktemp("blocks")
    size, least = MiB, 512 << shift
    raw, disk = folder / "raw", folder / "disk"
    raw.write_bytes(b"")
    os.truncate(raw, size)
    with raw.open("r+b") as file:
        for at, length in extents:
            file.seek(at)
            file.write(os.urandom(length))
    disk.write_bytes(b"\xee" * size)
    with nbdkit(folder, *STRICT, "file", disk, *policy(least, max(least, 32 * KiB))) as (uri, _):
        opened = sources.open_path(raw) if sent else sources.open_callback(_reader(raw), size, "raw", "raw")
        with opened as source, sinks.open_nbd(uri) as sink:
            copy_bytes(source, sink, size=size)
        with sources.open_nbd(uri) as written:
            for at in (0, 1, 511, 4095, size - 700):
                assert written.read(at, 700 if at + 700 <= size else 1) == raw.read_bytes()[at : at + 700]
    assert disk.read_bytes() == raw.read_bytes()


def _reader(path: Path) -> "sources.native.PreadCallback":
    content = path.read_bytes()
    return lambda offset, length: content[offset : offset + length]


@contextlib.contextmanager
def device_of_4k(path: Path) -> Iterator[str]:
    argv = ["losetup", "--find", "--show", "--direct-io=on", "--sector-size", "4096", path]
    made = subprocess.run(argv, capture_output=True, text=True, check=True)
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_device_of_4k_sectors_behind_qemu_nbd(tmp_path: Path) -> None:
    """qemu-nbd wants requests of its device's sectors: an odd source is written there, verified and read back."""
    content = sparse(tmp_path / "raw", 4 * MiB + 512)
    (tmp_path / "disk").write_bytes(b"\xee" * 6 * MiB)
    words = ["--format=raw", "--cache=none"]
    with device_of_4k(tmp_path / "disk") as device:
        with qemu_nbd(tmp_path, *words, device) as uri:
            copy(tmp_path / "raw", uri, "--verify")
            copy(uri, tmp_path / "back")
        copy(tmp_path / "raw", device, "--verify")
    expected = content + b"\xee" * (2 * MiB - 512)
    assert (tmp_path / "back").read_bytes() == expected
    assert (tmp_path / "disk").read_bytes() == expected


def test_an_export_larger_than_the_source_is_verified(tmp_path: Path) -> None:
    """Only the source's bytes are compared; a difference in them is found, and what lies behind them is left alone."""
    (tmp_path / "raw").write_bytes(os.urandom(5 * MiB + 3))
    (tmp_path / "disk").write_bytes(b"\xee" * 9 * MiB)
    with nbdkit(tmp_path, "file", tmp_path / "disk") as (uri, _):
        copy(tmp_path / "raw", uri, "--verify")
    assert (tmp_path / "disk").read_bytes() == (tmp_path / "raw").read_bytes() + b"\xee" * (4 * MiB - 3)
    with nbdkit(tmp_path, "null", "9M") as (uri, _), pytest.raises(errors.ChecksumMismatch):
        copy(tmp_path / "raw", uri, "--verify")


def test_an_empty_source_writes_nothing(tmp_path: Path) -> None:
    """An export of 0 bytes to a larger one: nothing there is touched."""
    (tmp_path / "disk").write_bytes(b"\xee" * MiB)
    with nbdkit(tmp_path, "null", "0") as (empty, _), nbdkit(tmp_path, "file", tmp_path / "disk") as (uri, _):
        copy(empty, uri, "--verify")
    assert (tmp_path / "disk").read_bytes() == b"\xee" * MiB
