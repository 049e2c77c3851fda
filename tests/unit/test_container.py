"""OVA containers: the one disk in a tar is found, and what is hostile or ambiguous is refused."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.images import container
from nbdsvc.images.inspection import inspect

Files = list[tuple[str, bytes]]
OVF = ("machine.ovf", b"<Envelope/>")


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


def judge(content: bytes, declared: str | None = None) -> str:
    """The format and where it begins, or the refusal's words."""
    try:
        facts = inspect(lambda at, length: content[at : at + length], len(content), "image", declared)
    except errors.BadImage as error:
        return str(error)
    return f"{facts.format} at {facts.offset}"


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_disk_is_found(vmdk: bytes, format: int) -> None:
    """Between descriptor and manifest, whatever wrote the tar, declared or not."""
    content = ova([OVF, ("disk.vmdk", vmdk), ("machine.mf", b"SHA256")], format, {"comment": "c"})
    assert judge(content) == judge(content, "ova") == f"vmdk at {content.index(b'KDMV')}"


def test_what_is_ambiguous_or_hostile_is_refused(vmdk: bytes) -> None:
    """Two disks, none, a compressed one, raw bytes, an appliance in an appliance, a cut, another size, a damaged header."""
    disk = ("disk.vmdk", vmdk)
    whole = ova([OVF, disk])
    assert "2 disks, not one: 'disk.vmdk', 'other'" in judge(ova([OVF, disk, ("other", vmdk)]))
    assert "0 disks" in judge(ova([OVF]))
    assert "gzip" in judge(ova([OVF, ("disk.vmdk.gz", b"\x1f\x8b" + bytes(600))]))
    assert "no format that is known" in judge(ova([OVF, ("disk.img", b"\1" * 4096)]))
    nested = whole
    for _ in range(3):
        nested = ova([OVF, ("inner.ova", nested)])
    assert "no format that is known" in judge(nested)
    assert "truncated" in judge(whole[: len(whole) // 2])
    assert "two sizes" in judge(ova([OVF, disk], tarfile.PAX_FORMAT, {"size": "5"}))
    assert "damaged" in judge(whole[:1024] + b"\xff" + whole[1025:])
    assert "more than 1000" in judge(ova([OVF, *[(f"{n}.txt", b"") for n in range(1001)]]))
    assert "not supported" in judge(ova([OVF, ("disk.qed", b"QED\0" + bytes(4096))]))


def test_only_an_appliance_is_a_container(vmdk: bytes) -> None:
    """A raw disk may hold a tar, if somebody says that it is one; and nothing else is declared an OVA."""
    tar = ova([("readme.txt", b"x"), ("disk.vmdk", vmdk)])
    assert "its content is tar archive" in judge(tar)
    assert judge(tar, "raw") == "raw at 0"
    assert judge(ova([OVF, ("disk.vmdk", vmdk)]), "raw") == "raw at 0"
    assert "declared as ova" in judge(tar, "ova")


@given(st.data())
def test_any_header_ends_in_a_disk_within_the_file_or_a_refusal(data: st.DataObject) -> None:
    """Bytes changed anywhere in the headers."""
    content = bytearray(ova([OVF, ("disk.vmdk", b"KDMV" + bytes(5000)), ("machine.mf", b"SHA256")]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from([1024, len(content) - 3 * 512])) + data.draw(st.integers(0, 511))
        value = data.draw(st.binary(min_size=1, max_size=12))
        content[at : at + len(value)] = value
    try:
        disk = container.find_disk(lambda at, length: bytes(content[at : at + length]), len(content), "image")
    except errors.BadImage:
        return
    assert 0 < disk.offset <= disk.offset + disk.size <= len(content)
