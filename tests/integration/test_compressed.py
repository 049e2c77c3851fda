"""Compressed images are read through as a stream: the disk is what was compressed, or there is a readable error."""

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import KiB, MiB, qemu_img, write_extents

from nbdsvc import errors
from nbdsvc.datapath.copy import Stopped
from nbdsvc.images import opening
from nbdsvc.images.http.access import Access
from nbdsvc.images.image_store import ImageFolder
from nbdsvc.images.opening import How
from nbdsvc.images.resolve import Images
from nbdsvc.images.spool import Spool
from nbdsvc.images.unpacking import Unpacker

SERVER = Path(__file__).resolve().parents[1] / "support/image_server.py"
SIZE = 5 * MiB + 512
NOISE = random.Random(9).randbytes(3 * MiB)


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-c", "-"], input=content, capture_output=True, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}


@pytest.fixture
def disk(tmp_path: Path) -> bytes:
    write_extents(tmp_path / "raw", SIZE, [(100, 70_000, 7), (4 * MiB, 64 * KiB, 3)])
    with (tmp_path / "raw").open("r+b") as file:
        file.seek(MiB)
        file.write(NOISE[: 2 * MiB])
    return (tmp_path / "raw").read_bytes()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 64 * MiB, "the setting image_spool")


def outcome(path: Path, how: How) -> bytes | str:
    with path.open("rb") as file:
        try:
            _, source = opening.open_file(file.fileno(), path.name, how)
        except errors.Error as error:
            return str(error)
        with source:
            return b"".join(source.read(at, min(MiB, source.size - at)) for at in range(0, source.size, MiB))


def unpacked(kind: str, content: bytes, piece: int = 100_000) -> bytes:
    """Read through in small pieces."""
    rest = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    reader = Unpacker(NAMES[kind], lambda _length: rest.pop(0) if rest else b"", "image")
    return b"".join(iter(lambda: reader.read(piece), b""))


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("inner", ["raw", "qcow2", "vmdk", "fixed"])
def test_the_disk_is_what_was_compressed(tmp_path: Path, disk: bytes, spool: Spool, kind: str, inner: str) -> None:
    """Raw without a copy on disk, everything else by the spool, which is empty again afterwards."""
    format, options = ("vpc", ["-o", "subformat=fixed,force_size=on"]) if inner == "fixed" else (inner, [])
    qemu_img("convert", "-f", "raw", "-O", format, *options, tmp_path / "raw", tmp_path / "inner")
    (tmp_path / "image").write_bytes(PACKERS[kind]((tmp_path / "inner").read_bytes()))
    found = outcome(tmp_path / "image", How() if inner in ("raw", "fixed") else How(spool=spool))
    assert isinstance(found, bytes), found
    assert found.rstrip(b"\0") == disk.rstrip(b"\0")
    spool.take(64 * MiB, "all of it is free")
    assert not (tmp_path / "spool").exists() or list((tmp_path / "spool").iterdir()) == []


def test_without_room_for_it_the_setting_is_named(tmp_path: Path, disk: bytes) -> None:
    """A spool that is switched off, or too small; and a raw disk that is larger than the volume."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", tmp_path / "inner")
    (tmp_path / "image").write_bytes(gzip.compress((tmp_path / "inner").read_bytes()))
    found = outcome(tmp_path / "image", How(spool=Spool(tmp_path / "s", 0, "the setting image_spool")))
    assert "the setting image_spool allows no room" in str(found)
    small = Spool(tmp_path / "s", MiB, "the setting image_spool")
    assert "more room than the setting image_spool allows" in str(outcome(tmp_path / "image", How(spool=small)))
    small.take(MiB, "all of it is free")
    (tmp_path / "image").write_bytes(gzip.compress(bytes(8 * MiB)))
    assert "unpacks to more than 4194304 bytes" in str(outcome(tmp_path / "image", How(most=4 * MiB)))


@pytest.mark.parametrize("kind", PACKERS)
def test_streams_of_several_members(kind: str) -> None:
    """As pigz, pbzip2, pixz and pzstd write them; padding is passed over where the format has it."""
    pack = PACKERS[kind]
    parts = [NOISE[:70_000], b"", bytes(300_000), NOISE[70_000:90_000]]
    content = b"".join(pack(part) for part in parts)
    assert unpacked(kind, content) == b"".join(parts)
    if kind in ("gz", "xz"):
        assert unpacked(kind, pack(b"a") + bytes(1024) + pack(b"b") + bytes(512)) == b"ab"
    if kind == "zst":
        skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
        assert unpacked(kind, skipped + pack(b"a") + skipped + pack(b"b")) == b"ab"


@pytest.mark.parametrize("kind", PACKERS)
def test_cut_damaged_and_continued_streams_are_errors(kind: str) -> None:
    """Cut at any place, one bit changed in the middle, garbage behind the end."""
    content = PACKERS[kind](NOISE[:20_000])
    for length in (len(content) - 1, len(content) // 2, 20):
        with pytest.raises(errors.BadImage, match="truncated"):
            unpacked(kind, content[:length])
    for garbage in (b"x", b"\0x", NOISE[:5000]):
        with pytest.raises(errors.BadImage, match=r"followed by something else|damaged"):
            unpacked(kind, content + garbage)
    middle = len(content) // 2
    if kind != "zst":  # whose checksum is there only if its maker wants it; the tool does
        with pytest.raises(errors.BadImage):
            unpacked(kind, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_a_stream_ends_in_its_bytes_or_an_error(data: st.DataObject) -> None:
    """Bytes changed or cut anywhere: nothing but BadImage, and never more bytes than there were."""
    kind = data.draw(st.sampled_from(sorted(PACKERS)))
    plain = b"some words " * 300 + bytes(5000)
    content = bytearray(_packed_once(kind, plain))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        found = unpacked(kind, bytes(content), 1000)
    except errors.BadImage:
        return
    assert len(found) <= len(plain) + 256 * KiB


_CACHE: dict[str, bytes] = {}


def _packed_once(kind: str, plain: bytes) -> bytes:
    return _CACHE.setdefault(kind, PACKERS[kind](plain))


def test_what_is_compressed_twice_or_no_disk_is_refused(tmp_path: Path, spool: Spool) -> None:
    """The inner image is inspected as an outer one is."""
    image = tmp_path / "image"
    for content, reason in (
        (gzip.compress(lzma.compress(NOISE)), "compressed twice"),
        (lzma.compress(b"<html>Not found</html>"), "its content is text"),
        (gzip.compress(b"QFI\xfb" + bytes(200)), "version is 0"),
        (gzip.compress(b""), "it is empty"),
        (bz2.compress(b"ustar".rjust(262, b"\0") + bytes(2000)), "tar archive"),
    ):
        image.write_bytes(content)
        assert reason in str(outcome(image, How(spool=spool))), reason
        assert outcome(image, How(declared="raw", spool=spool)) == content


def test_as_an_image_by_path_and_by_http(tmp_path: Path, disk: bytes, spool: Spool) -> None:
    """For a volume; the catalogue beside it names the compressed file; qcow2 and VMDK by http go by the spool."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "raw.xz").write_bytes(lzma.compress(disk))
    for format in ("qcow2", "vmdk"):
        qemu_img("convert", "-f", "raw", "-O", format, tmp_path / "raw", folder / format)
    digests = subprocess.run(["sha256sum", "raw.xz"], cwd=folder, capture_output=True, text=True, check=True).stdout
    (folder / "SHA256SUMS").write_text(digests)
    images = Images(ImageFolder(folder), [folder], Access(), spool)
    opened = images.open(str(folder / "raw.xz"), most=SIZE)
    with opened.source as source, opened.check:
        assert (opened.facts.format, opened.facts.virtual_size, source.sequential) == ("raw", SIZE, True)
        assert source.read(0, SIZE) == disk
        opened.check.finish()
    with pytest.raises(Stopped):
        images.open(str(folder / "raw.xz"), should_stop=lambda: True)
    for name in ("raw.xz", "vmdk", "qcow2"):
        command = [sys.executable, str(SERVER), str(folder / name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            try:
                with images.open(server.stdout.readline().strip()).source as source:
                    assert source.read(0, SIZE) == disk, name
            finally:
                server.kill()


def test_by_the_command_also_from_a_pipe(tmp_path: Path, disk: bytes) -> None:
    """qcow2.xz and raw.zst, verified; by standard input; --spool 0 refuses; an OVA may be compressed too."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", tmp_path / "q")
    (tmp_path / "q.xz").write_bytes(lzma.compress((tmp_path / "q").read_bytes()))
    (tmp_path / "r.zst").write_bytes(zstd(disk))
    copy = [sys.executable, "-m", "nbdsvc", "copy"]
    for number, source in enumerate((tmp_path / "q.xz", tmp_path / "r.zst", "-")):
        with (tmp_path / "q.xz").open("rb") as file:
            read, write = os.pipe()
            feeder = threading.Thread(target=_feed, args=(write, file.read()))
            feeder.start()
        target = tmp_path / f"out{number}"
        done = subprocess.run(
            [*copy, source, target, "--verify"], stdin=read, capture_output=True, text=True, timeout=60
        )
        os.close(read)
        feeder.join(30)
        assert done.returncode == 0, done.stderr
        assert target.read_bytes() == disk
    done = subprocess.run([*copy, tmp_path / "q.xz", tmp_path / "o", "--spool", "0"], capture_output=True, text=True)
    assert (done.returncode, "--spool allows no room" in done.stderr) == (1, True), done.stderr


def _feed(fd: int, content: bytes) -> None:
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    except BrokenPipeError:
        pass


def test_zeros_cost_nothing_in_a_packed_destination(tmp_path: Path) -> None:
    """8 TiB of nothing with some bytes at its ends, from qcow2 to qcow2, as fast as raw: it ends, and is the same."""
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "q", "8T")
    changes = ["-c", "write -P 7 0 64k", "-c", "write -P 8 4T 9M", "-c", f"write -P 9 {(8 << 40) - 65536} 64k"]
    subprocess.run(["qemu-io", "-f", "qcow2", *changes, tmp_path / "q"], check=True, stdout=subprocess.DEVNULL)
    argv = [sys.executable, "-m", "nbdsvc", "copy", tmp_path / "q", tmp_path / "out.qcow2"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    qemu_img("check", "-q", "-f", "qcow2", tmp_path / "out.qcow2")
    qemu_img("compare", "-q", "-f", "qcow2", "-F", "qcow2", tmp_path / "q", tmp_path / "out.qcow2")
