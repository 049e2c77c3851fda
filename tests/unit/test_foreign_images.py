"""Inspection of VMDK, VHD, VHDX and VDI headers: what is read, and what is refused before any tool opens it."""

import struct
import subprocess
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.images.inspection import inspect

SIZE = 8 << 20
KINDS = {
    "vmdk": ("vmdk", "subformat=monolithicSparse"),
    "vmdk stream": ("vmdk", "subformat=streamOptimized"),
    "vpc": ("vpc", "subformat=dynamic,force_size=on"),
    "vhdx": ("vhdx", "subformat=dynamic"),
    "vhdx fixed": ("vhdx", "subformat=fixed"),
    "vdi": ("vdi", "static=off"),
    "vdi static": ("vdi", "static=on"),
}
METADATA = 2 << 20  # where qemu-img puts the metadata of a VHDX
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le


def made(folder: Path, kind: str) -> bytearray:
    format, options = KINDS[kind]
    (folder / "raw").write_bytes(bytes(SIZE))
    argv = ["qemu-img", "convert", "-f", "raw", "-O", format, "-o", options, folder / "raw", folder / "image"]
    subprocess.run(argv, check=True)
    return bytearray((folder / "image").read_bytes())


def judge(content: bytes, declared: str | None = None) -> str:
    """The format, or the refusal's words."""
    try:
        facts = inspect(lambda at, length: content[at : at + length], len(content), "image", declared)
    except errors.BadImage as error:
        return str(error)
    assert facts.virtual_size <= 64 << 40
    return facts.format


@pytest.mark.parametrize("kind", KINDS)
def test_sound_images_are_accepted_as_what_they_are(tmp_path: Path, kind: str) -> None:
    """Undeclared, and declared as what it is; not as anything else."""
    content, format = made(tmp_path, kind), KINDS[kind][0]
    assert judge(content) == judge(content, format) == format
    assert "is declared as raw" in judge(content, "raw")
    assert "is declared as qcow2" in judge(content, "qcow2")


@pytest.mark.parametrize(
    ("kind", "offset", "value", "reason"),
    [
        ("vmdk", 4, struct.pack("<I", 9), "version is 9"),
        ("vmdk", 12, bytes(8), "virtual size is 0"),
        ("vmdk", 12, struct.pack("<Q", 1 << 50), "absurd"),
        ("vmdk", 28, bytes(8), "no embedded descriptor"),
        ("vmdk", 56, struct.pack("<Q", 1 << 40), "not within the file"),
        ("vpc", 12, bytes(4), "version is 0x0"),
        ("vpc", 60, struct.pack(">I", 4), "differencing"),
        ("vpc", 512 + 40, b"parent", "names a parent"),
        ("vpc", 512 + 24, bytes(4), "version is 0x0"),
        ("vdi", 0x44, struct.pack("<I", 7), "version is 0x7"),
        ("vdi", 0x4C, struct.pack("<I", 4), "type is 4"),
        ("vdi", 0x1B8, b"parent", "has a parent"),
        ("vdi", 0x170, struct.pack("<Q", 1 << 60), "too small"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(
    tmp_path: Path, kind: str, offset: int, value: bytes, reason: str
) -> None:
    """One field changed: another version, a parent, a size beyond the tables."""
    content = made(tmp_path, kind)
    content[offset : offset + len(value)] = value
    assert reason in judge(content)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'SPARSE "image"', b'FLAT "/etc/passwd" 0', "not in this file"),
        (b'SPARSE "image"', b'SPARSE "/etc/passwd"', "not in this file"),
        (b'SPARSE "image"\n', b'SPARSE "image"\nRW 8 SPARSE "other"\n', "2 extents"),
        (b"parentCID=ffffffff", b"parentCID=12345678", "has a parent"),
        (b"monolithicSparse", b"twoGbMaxExtentSp", "VMDK type"),
    ],
)
def test_vmdk_descriptors_that_name_files_are_refused(tmp_path: Path, old: bytes, new: bytes, reason: str) -> None:
    """An embedded descriptor may only speak of this very file; a plain text one is refused as such."""
    content = bytes(made(tmp_path, "vmdk"))
    assert old in content[512 : 21 * 512]
    text = content[512 : 21 * 512].replace(old, new)[: 20 * 512].ljust(20 * 512, b"\0")
    assert reason in judge(content[:512] + text + content[21 * 512 :])
    plain = b'# Disk DescriptorFile\nparentCID=ffffffff\nRW 8 FLAT "/etc/passwd" 0\n'
    assert "vmdk descriptor" in judge(plain)
    assert "declared as vmdk" in judge(b"\0" + plain, "vmdk")


def test_vhdx_with_parent_or_another_version_is_refused(tmp_path: Path) -> None:
    """The flag of the file parameters, the version of the current header, and a log that was not replayed."""
    content = made(tmp_path, "vhdx")
    table = content.index(b"metadata")
    at = table + struct.unpack_from("<I", content, content.index(FILE_PARAMETERS) + 16)[0]
    assert struct.unpack_from("<I", content, at)[0] >= 1 << 20
    struct.pack_into("<I", content, at + 4, 2)
    assert "has a parent" in judge(content)
    for field, reason in ((66, "version is"), (48, "log has to be replayed")):
        content = made(tmp_path, "vhdx")
        for head in (64 << 10, 128 << 10):
            content[head + field] = 9
        assert reason in judge(content)


def test_fixed_vhd_is_what_stands_before_its_footer(tmp_path: Path) -> None:
    """The guest's bytes end where the footer begins; a footer that differs from them or is damaged is refused."""
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on"]
    (tmp_path / "raw").write_bytes(b"\1" * SIZE)
    subprocess.run([*command, tmp_path / "raw", tmp_path / "image"], check=True)
    content = (tmp_path / "image").read_bytes()
    facts = inspect(lambda at, length: content[at : at + length], len(content), "image")
    assert (facts.format, facts.virtual_size, facts.is_plain, facts.is_foreign) == ("vpc", SIZE, True, False)
    assert judge(content, "vpc") == "vpc"
    assert judge(content, "raw") == "raw"
    assert "but it has" in judge(content[4096:])
    assert "damaged" in judge(content[:-200] + b"\1" + content[-199:])
    assert "whose header is missing" in judge(content[:-512] + content[-512:-452] + b"\0\0\0\3" + content[-448:])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The first part is enough: it holds every header."""
    return {kind: bytes(made(tmp_path_factory.mktemp("image"), kind)[: 4 << 20]) for kind in KINDS}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_headers_are_refused_or_within_limits(images: dict[str, bytes], data: st.DataObject) -> None:
    """Whatever stands in a header, inspection ends with facts within limits or a refusal of ours; also when cut off."""
    kind = data.draw(st.sampled_from(sorted(images)))
    content = bytearray(images[kind])
    bases = (0, 512, 64 << 10, 192 << 10, METADATA, METADATA + (64 << 10)) if "vhdx" in kind else (0, 0x140, 512)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(bases)) + data.draw(st.integers(0, 511))
        value = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(value)] = value
    judge(content[: data.draw(st.sampled_from([len(content), 100, 600, 70_000, 200_000]))])
