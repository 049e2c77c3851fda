"""OVA containers: the one disk in a tar is found, and what is hostile or ambiguous is refused."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.images.formats import ova as reader
from nbdsvc.images.inspection import inspect

Files = list[tuple[str, bytes]]


def descriptor(*disks: str, more: str = "", extra: str = "") -> bytes:
    """An OVF that names these files as disks; `more`: attributes of each file, `extra`: further elements."""
    names = 'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'
    files = "".join(f'<File ovf:id="f{n}" ovf:href="{disk}" {more}/>' for n, disk in enumerate(disks))
    disk_section = "".join(f'<Disk ovf:diskId="disk{n}" ovf:fileRef="f{n}"/>' for n in range(len(disks)))
    iso = '<File ovf:id="cd" ovf:href="tools.iso"/>'
    empty = '<Disk ovf:diskId="empty" ovf:capacity="1024"/>'
    parts = f"<References>{files}{iso}</References><DiskSection>{disk_section}{empty}</DiskSection>{extra}"
    return f"<?xml version='1.0'?><Envelope {names}>{parts}</Envelope>".encode()


OVF = ("machine.ovf", descriptor("disk.vmdk"))


def ova(files: Files, format: int = tarfile.USTAR_FORMAT, pax: dict[str, str] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = {} if name == OVF[0] else pax or {}
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture(scope="module")
def vmdk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("disk") / "disk.vmdk"
    options = ["-q", "-f", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "create", *options, str(path), "8M"], check=True)
    return path.read_bytes()


def judge(content: bytes, declared: str | None = None, disk: str | None = None) -> str:
    """The format and where it begins, or the refusal's words."""
    try:
        facts = inspect(lambda at, length: content[at : at + length], len(content), "image", declared, disk)
    except errors.BadImage as error:
        return str(error)
    return f"{facts.format} at {facts.offset}"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_disk_is_found(vmdk: bytes, format: int) -> None:
    """Between descriptor and manifest, whatever wrote the tar, declared or not."""
    content = ova([OVF, ("disk.vmdk", vmdk), ("machine.mf", b"SHA256")], format, {"comment": "c"})
    assert judge(content) == judge(content, "ova") == f"vmdk at {content.index(b'KDMV')}"


def test_the_order_of_members_does_not_matter(vmdk: bytes) -> None:
    """The disk or the manifest first, the descriptor last."""
    for files in ([("disk.vmdk", vmdk), OVF], [("a.mf", b"SHA1"), ("disk.vmdk", vmdk), OVF]):
        assert judge(ova(files)) == f"vmdk at {ova(files).index(b'KDMV')}"


def test_what_the_descriptor_does_not_name_is_no_disk(vmdk: bytes) -> None:
    """A README, a licence, a state of the firmware, a CD, a second disk that no section speaks of."""
    beside = [(name, b"KDMV") for name in ("README", "licence.rtf", "a.nvram", "tools.iso", "spare.vmdk")]
    content = ova([*beside, OVF, ("disk.vmdk", vmdk)])
    assert judge(content) == f"vmdk at {content.index(vmdk)}"


def test_one_of_several_disks_is_chosen(vmdk: bytes) -> None:
    """By the name of its file or its id; else the refusal has their names."""
    content = ova(
        [("m.ovf", descriptor("d1.vmdk", "d2.vmdk")), ("d1.vmdk", vmdk), ("d2.vmdk", b"\0" * 512), ("d", vmdk)]
    )
    assert judge(content, disk="d1.vmdk") == judge(content, disk="disk0") == f"vmdk at {content.index(vmdk)}"
    assert "2 disks, not one: 'd1.vmdk', 'd2.vmdk': choose one by IMAGE#DISK" in judge(content)
    assert "no disk 'd'" in judge(content, disk="d")
    assert "no OVA" in judge(vmdk, disk="d1.vmdk")


def test_long_names_and_large_sizes_are_read(vmdk: bytes) -> None:
    """A name of more than 100 bytes in each dialect; a size by a pax record, as of files above 8 GiB."""
    name = "folder/" * 14 + "a disk with a rather long name.vmdk"
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = ova([("m.ovf", descriptor(name.replace(" ", "%20"))), (name, vmdk)], format)
        assert judge(content) == f"vmdk at {content.index(b'KDMV')}"
    content = ova([OVF, ("disk.vmdk", vmdk)], tarfile.PAX_FORMAT, {"size": str(len(vmdk))})
    assert judge(content) == f"vmdk at {content.index(b'KDMV')}"
    assert "truncated" in judge(ova([OVF, ("disk.vmdk", vmdk)], tarfile.PAX_FORMAT, {"size": str(9 << 30)}))


@pytest.mark.parametrize("format", ["gnu", "posix"])
def test_sparse_members_are_refused_by_name(tmp_path: Path, vmdk: bytes, format: str) -> None:
    """GNU tar leaves the holes out in several ways; beside the disk they do no harm."""
    for name in ("disk.vmdk", "notes"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(30 << 20)
            for at in range(0, 30 << 20, 1 << 20):  # more holes than fit into one header
                file.seek(at)
                file.write(vmdk[:4096])
    (tmp_path / OVF[0]).write_bytes(OVF[1])
    command = ["tar", f"--format={format}", "--sparse", "-cf", "-", "-C", str(tmp_path), "notes"]
    content = subprocess.run([*command, "disk.vmdk", OVF[0]], check=True, capture_output=True).stdout
    assert "'disk.vmdk' is stored as a sparse member" in judge(content)
    (tmp_path / "disk.vmdk").write_bytes(vmdk)
    content = subprocess.run([*command, "disk.vmdk", OVF[0]], check=True, capture_output=True).stdout
    assert judge(content) == f"vmdk at {content.index(vmdk)}"


def test_hostile_descriptors_are_refused() -> None:
    """Entities, endless nesting, no XML, too much of it; a disk that is elsewhere, in chunks, compressed or not there."""
    bomb = b'<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Envelope>&b;</Envelope>'
    for text, reason in (
        (bomb, "document type"),
        (b"<a>" * 5000, "nested too deep"),
        (b"no XML", "is no XML"),
        (b" " * (5 << 20), "too long"),
        (descriptor("http://h/disk.vmdk"), "elsewhere"),
        (descriptor("disk.vmdk", more='ovf:chunkSize="5"'), "chunks"),
        (descriptor("disk.vmdk", more='ovf:compression="gzip"'), "compressed with gzip"),
        (descriptor("other.vmdk"), "'other.vmdk' is not in it"),
        (descriptor().replace(b"<Disk ", b'<Disk ovf:fileRef="f9" '), "no file for the disk"),
        (b"<Envelope/>", "0 disks"),
    ):
        assert reason in judge(ova([("machine.ovf", text), ("disk.vmdk", b"KDMV" + bytes(600))])), reason


def test_what_is_ambiguous_or_hostile_is_refused(vmdk: bytes) -> None:
    """A compressed disk, raw bytes, an appliance in an appliance, a cut, a damaged header, a name twice, two descriptors."""
    disk = ("disk.vmdk", vmdk)
    whole = ova([OVF, disk])
    assert "gzip" in judge(ova([OVF, ("disk.vmdk", b"\x1f\x8b" + bytes(600))]))
    assert "no format that is known" in judge(ova([OVF, ("disk.vmdk", b"\1" * 4096)]))
    nested = whole
    for _ in range(3):
        nested = ova([OVF, ("disk.vmdk", nested)])
    assert "no format that is known" in judge(nested)
    assert "truncated" in judge(whole[: len(whole) // 2])
    at = whole.index(b"disk.vmdk\0")
    assert "damaged" in judge(whole[:at] + b"\xff" + whole[at + 1 :])
    assert "more than 1000" in judge(ova([OVF, *[(f"{n}.txt", b"") for n in range(1001)]]))
    assert "twice" in judge(ova([OVF, disk, disk]))
    assert "2 descriptors" in judge(ova([OVF, disk, ("b.ovf", OVF[1])]))
    assert "not supported" in judge(ova([OVF, ("disk.vmdk", b"# Disk DescriptorFile" + bytes(4096))]))


def test_only_an_appliance_is_a_container(vmdk: bytes) -> None:
    """A raw disk may hold a tar, if it is declared as one; and nothing else is declared an OVA."""
    tar = ova([("readme.txt", b"x"), ("disk.vmdk", vmdk)])
    assert "its content is tar archive" in judge(tar)
    assert judge(tar, "raw") == "raw at 0"
    assert judge(ova([OVF, ("disk.vmdk", vmdk)]), "raw") == "raw at 0"
    assert "declared as ova" in judge(tar, "ova")


@given(st.data())
def test_any_header_ends_in_a_disk_within_the_file_or_a_refusal(data: st.DataObject) -> None:
    """Bytes changed anywhere in the headers."""
    content = bytearray(ova([OVF, ("disk.vmdk", b"KDMV" + bytes(5000)), ("machine.mf", b"SHA256")]))
    headers = [0, 512, content.index(b"disk.vmdk\0"), content.index(b"machine.mf\0")]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, 511))
        value = data.draw(st.binary(min_size=1, max_size=12))
        content[at : at + len(value)] = value
    try:
        disk = reader.find_disk(lambda at, length: bytes(content[at : at + length]), len(content), "image")
    except errors.BadImage:
        return
    assert 0 < disk.offset <= disk.offset + disk.size <= len(content)
