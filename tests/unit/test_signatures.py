"""What is not recognised is not raw: each known kind of bytes that is no disk is named, and disks stay disks."""

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.images.inspection import inspect

NOISE = random.Random(16).randbytes(16 << 10)


def judge(content: bytes, declared: str | None = None) -> str:
    """The format, or the refusal's words."""
    try:
        return inspect(lambda at, length: content[at : at + length], len(content), "image", declared).format
    except errors.BadImage as error:
        return str(error)


def tar(format: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as archive:
        member = tarfile.TarInfo("disk.raw")
        member.size = len(NOISE)
        archive.addfile(member, io.BytesIO(NOISE))
    return made.getvalue()


def old_tar() -> bytes:
    """As before POSIX: without the mark, its sum made again."""
    made = bytearray(tar(tarfile.USTAR_FORMAT))
    made[257:512] = bytes(255)
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made[:512])
    return bytes(made)


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("disk.raw", NOISE)
    return made.getvalue()


def by(*command: str) -> bytes:
    return subprocess.run(command, input=NOISE, capture_output=True, check=True, timeout=60).stdout


OTHERS = {
    "lzma": lambda: lzma.compress(NOISE, lzma.FORMAT_ALONE),
    "lz4": lambda: b"\x04\x22\x4d\x18" + NOISE,
    "zip archive": zipped,
    "7z archive": lambda: b"7z\xbc\xaf\x27\x1c\0\4" + NOISE,
    "RAR archive": lambda: b"Rar!\x1a\x07\1\0" + NOISE,
    "tar archive": lambda: tar(tarfile.GNU_FORMAT),
    "cpio archive": lambda: b"070701" + b"0" * 104 + NOISE,
    "PDF document": lambda: b"%PDF-1.7\n" + NOISE,
    "ELF program": lambda: Path("/bin/true").read_bytes(),
    "QED": lambda: b"QED\0" + NOISE,
    "Parallels disk": lambda: b"WithoutFreeSpace" + NOISE,
    "User Mode Linux cow": lambda: b"OOOM\0\0\0\2" + NOISE,
    "Bochs disk": lambda: b"Bochs Virtual HD Image\0" + NOISE,
    "cloop": lambda: b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop" + NOISE,
    "Apple disk image (dmg)": lambda: NOISE + b"koly\0\0\0\4\0\0\2\0" + bytes(500),
    "Windows image (WIM)": lambda: b"MSWIM\0\0\0" + NOISE,
    "EnCase image (EWF)": lambda: b"EVF\x09\r\n\xff\0" + NOISE,
    "Android sparse image": lambda: b"\x3a\xff\x26\xed\1\0" + NOISE,
}
TEXTS = {
    "page": b"<!DOCTYPE html>\n<html><body>Not found</body></html>",
    "old page in Latin 1": b"<html><body>Zugriff verweigert f\xfcr Sie</body></html>",
    "page after a blank line": b"\n  <?xml version='1.0'?><Error/>",
    "page longer than is looked at": b"<html>" + b"caf\xc3\xa9 " * 4000,
    "JSON": b'{"error": {"code": 404}}',
    "words": b"Not found",
    "notes": b"important\n" * 3000,
    "UTF-16": "Zugriff verweigert\r\n".encode("utf-16"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_disk_is_refused_by_its_name(name: str) -> None:
    """Archives, documents, programs and formats that are not read: refused with their name, and raw where declared."""
    content = OTHERS[name]()
    assert f"its content is {name}" in judge(content)
    assert judge(content, "raw") == "raw"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, None])
def test_tars_of_every_dialect_are_known(format: int | None) -> None:
    """Also one from before the ustar mark, which only its sum gives away."""
    assert "tar archive" in judge(old_tar() if format is None else tar(format))


@pytest.mark.parametrize("name", TEXTS)
def test_a_page_or_a_text_is_no_disk(name: str) -> None:
    """As a web server sends it instead of the image."""
    assert "its content is text" in judge(TEXTS[name])
    assert judge(TEXTS[name], "raw") == "raw"


@pytest.mark.parametrize("command", ["mkfs.ext4 -q", "mkfs.btrfs -q", "mkswap"])
def test_disks_with_content_are_raw(tmp_path: Path, command: str) -> None:
    """File systems and swap space are what disks hold; so are partition tables."""
    disk, words = tmp_path / "disk", command.split()
    words[0] = shutil.which(words[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or words[0]
    disk.write_bytes(bytes(128 << 20))
    subprocess.run([*words, disk], check=True, capture_output=True, timeout=60)
    assert judge(disk.read_bytes()) == "raw"
    assert judge(b"\xfa\xb8" + NOISE[2:510] + b"\x55\xaa" + b"EFI PART" + bytes(8192)) == "raw"


@pytest.mark.parametrize("content", [bytes(8192), b"x" * 8192, b"\xff" * 8192, NOISE, b"label of a disk" + bytes(4096)])
def test_patterns_and_noise_are_raw(content: bytes) -> None:
    """Zeros, one byte repeated, noise, and words with binary numbers behind them."""
    assert judge(content) == "raw"


def test_two_bytes_of_a_signature_are_not_enough() -> None:
    """A disk of noise that begins like gzip, bzip2, compress, a zip or a program is still a disk."""
    for mark in (
        b"\x1f\x8b",
        b"\x1f\x8b\x08\xff",
        b"BZh",
        b"\x1f\x9d",
        b"PK\3\4\xff\xff",
        b"MZ",
        b"\x5d\0\0",
        b"\xff\xd8\xff",
    ):
        assert judge(mark + NOISE[len(mark) :]) == "raw"


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_disks_are_raw(source: random.Random) -> None:
    """Whatever noise a disk begins with, it is a disk."""
    assert judge(source.randbytes(8192)) == "raw"


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_compressed_files_are_never_taken_for_the_disk(name: str) -> None:
    """Inspection itself reads no compressed file: whoever opens it unpacks it first."""
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[name]
    assert f"its content is {name}" in judge(pack(NOISE))
    assert f"its content is {name}" in judge(pack(b""))
    assert judge(pack(NOISE), "raw") == "raw"
