"""NBD servers as sources and sinks: nbdkit and qemu-nbd, with and without multi-conn, failing, stalling."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from images import KiB, MiB, qemu_img, write_extents
from nbdkits import nbdkit, qemu_nbd
from waiting import end_of

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy, digest
from nbdsvc.datapath.digests import Digests
from nbdsvc.location import Location

Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(*words): an nbdkit on a unix socket, and its URI."""
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(nbdkit(tmp_path, *words))[0]


SIZE = 40 * MiB
EXTENTS = [(0, 100, 1), (5 * MiB + 123, 3 * MiB, 2), (20 * MiB, 64 * KiB, 3), (39 * MiB, 2 * MiB, 4)]


@pytest.mark.parametrize("filters", [[], ["--filter=noextents", "--filter=nozero"], ["--filter=multi-conn", "--no-sr"]])
def test_from_and_to_nbd(tmp_path: Path, serve: Serve, filters: list[str]) -> None:
    """Source and sink over NBD: the same bytes, over old data, whatever the server can; and holes stay holes."""
    words = [*filters, "file"]
    model = write_extents(tmp_path / "raw", SIZE, EXTENTS)
    target = tmp_path / "target"
    target.write_bytes(b"\xee" * SIZE)
    made = Digests(SIZE)
    with (
        sources.open_nbd(serve("-r", *words, tmp_path / "raw")) as source,
        sinks.open_nbd(serve(*words, target)) as sink,
    ):
        assert source.size == sink.size == SIZE
        result = copy(source, sink, digests=made, journal=tmp_path / "journal", fingerprint=b"n")
    assert target.read_bytes() == model
    assert result.data < SIZE / 3
    if not filters:
        assert target.stat().st_blocks * 512 < SIZE / 3
        with sources.open_nbd(serve("-r", "file", tmp_path / "raw")) as source:
            holes = sum(length for _offset, length, zero in source.extents() if zero)
        assert holes > SIZE / 2
    with sources.open_path(target) as written:
        made.compare(digest(written, SIZE), "target")


def test_foreign_formats_by_way_of_nbd(tmp_path: Path) -> None:
    """What qemu-nbd serves of a VMDK is copied to a qcow2 that compares equal."""
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    vmdk, image = tmp_path / "disk.vmdk", tmp_path / "image"
    qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "raw", vmdk)
    with (
        qemu_nbd(tmp_path, "-r", "-f", "vmdk", vmdk) as uri,
        sources.open_nbd(uri) as source,
        sinks.create_qcow2(image, source.size, "zstd") as sink,
    ):
        copy(source, sink)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", tmp_path / "raw", image)


def test_a_servers_error_is_said_and_never_retried(tmp_path: Path, serve: Serve) -> None:
    """EIO from the server is ReadFailed or WriteFailed with its words; ENOSPC is OutOfSpace."""
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    (tmp_path / "target").write_bytes(bytes(SIZE))
    bad = serve("--filter=error", "file", tmp_path / "raw", "error=EIO", "error-pread-rate=100%")
    with sources.open_nbd(bad) as source, pytest.raises(errors.ReadFailed, match=r"(?i)input/output"):
        copy(source, Location.file(tmp_path / "target"))
    bad = serve("--filter=error", "file", tmp_path / "target", "error=ENOSPC", "error-pwrite-rate=100%")
    with (
        sources.open_path(tmp_path / "raw") as source,
        sinks.open_nbd(bad) as sink,
        pytest.raises(errors.OutOfSpace, match=r"(?i)no space"),
    ):
        copy(source, sink)


def test_a_server_that_stalls_does_not_hold_a_cancel(tmp_path: Path, serve: Serve) -> None:
    """A copy from a server that does not answer ends when it is stopped, long before the answer comes."""
    (tmp_path / "raw").write_bytes(os.urandom(MiB))
    (tmp_path / "target").touch()
    slow = serve("--filter=delay", "file", tmp_path / "raw", "delay-read=600")
    looks = itertools.count()
    with sources.open_nbd(slow) as source, pytest.raises(Stopped):
        end_of(lambda: copy(source, Location.file(tmp_path / "target"), should_stop=lambda: next(looks) > 10))


def test_nobody_there(tmp_path: Path, serve: Serve) -> None:
    """No server, or a read-only export as a sink: an error that says so, and the URI's secrets stay out of it."""
    with pytest.raises(errors.ReadFailed, match="No such file") as caught:
        sources.open_nbd(f"nbd+unix:///?socket={tmp_path}/unknown&tls-psk-file=/key")
    assert "/key" not in str(caught.value)
    (tmp_path / "raw").write_bytes(bytes(MiB))
    with pytest.raises(errors.WriteFailed, match="read-only"):
        sinks.open_nbd(serve("-r", "file", tmp_path / "raw"))


def test_with_a_pre_shared_key(tmp_path: Path, serve: Serve) -> None:
    """Source and sink over TLS with a key in a file; without it, or with another, an error that does not tell the key."""
    key = os.urandom(32).hex()
    (tmp_path / "keys").write_text(f"me:{key}\n")
    (tmp_path / "other").write_text(f"me:{'0' * 64}\n")
    model = write_extents(tmp_path / "raw", SIZE, EXTENTS)
    (tmp_path / "target").write_bytes(b"\xee" * SIZE)
    tls = ["--tls=require", f"--tls-psk={tmp_path / 'keys'}", "file"]
    uris = [serve(*tls, tmp_path / name).replace("nbd+unix://", "nbds+unix://me@") for name in ("raw", "target")]
    origin, target = (f"{uri}&tls-psk-file={tmp_path / 'keys'}" for uri in uris)
    with sources.open_nbd(origin) as source, sinks.open_nbd(target) as sink:
        copy(source, sink)
    assert (tmp_path / "target").read_bytes() == model
    for uri in (uris[0].replace("nbds", "nbd"), f"{uris[0]}&tls-psk-file={tmp_path / 'other'}"):
        with pytest.raises(errors.ReadFailed) as caught:
            sources.open_nbd(uri)
        assert key not in str(caught.value)
