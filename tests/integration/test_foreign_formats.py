"""VMDK, VHD, VHDX and VDI through the locked-down child: the same bytes as by qemu-img, and nothing left behind."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from images import KiB, MiB, qemu_img, write_extents

from nbdsvc import errors
from nbdsvc.images import confined
from nbdsvc.images.folder import ImageFolder
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.places import open_origin
from nbdsvc.images.sources import Images

SIZE = 24 * MiB
EXTENTS = [(0, 100, 1), (5 * MiB + 123, 3 * MiB, 2), (20 * MiB, 64 * KiB, 3)]
DESCRIPTOR = (
    b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:o="http://schemas.dmtf.org/ovf/envelope/1">'
    b'<References><File o:id="f" o:href="%s"/></References><DiskSection><Disk o:diskId="d" o:fileRef="f"/></DiskSection>'
    b"</Envelope>"
)
KINDS = [
    ("vmdk", "subformat=monolithicSparse"),
    ("vmdk", "subformat=streamOptimized"),
    ("vpc", "subformat=dynamic"),
    ("vpc", "subformat=dynamic,force_size=on"),
    ("vhdx", "subformat=dynamic"),
    ("vhdx", "subformat=fixed"),
    ("vdi", "static=off"),
    ("vdi", "static=on"),
]


def convert(folder: Path, format: str, options: str) -> Path:
    """An image of generated data, and beside it what qemu-img reads from it."""
    write_extents(folder / "raw", SIZE, EXTENTS)
    image = folder / f"image.{'vhd' if format == 'vpc' else format}"
    qemu_img("convert", "-f", "raw", "-O", format, "-o", options, folder / "raw", image)
    qemu_img("convert", "-f", format, "-O", "raw", image, folder / "theirs")
    return image


@pytest.mark.parametrize(("format", "options"), KINDS)
def test_same_bytes_as_by_qemu_img(tmp_path: Path, format: str, options: str) -> None:
    """By `nbdsvc copy`, verified, and as an image for a volume; a child and its folder end with the source."""
    image = convert(tmp_path, format, options)
    image.chmod(0o600)
    argv = ["nbdsvc", "copy", image, tmp_path / "ours", "--verify", "--source-format", format]
    subprocess.run([sys.executable, "-m", *argv], check=True, capture_output=True, timeout=60)
    theirs = (tmp_path / "theirs").read_bytes()
    assert (tmp_path / "ours").read_bytes() == theirs
    (tmp_path / "folder").mkdir()
    image.rename(tmp_path / "folder" / image.name)
    opened = Images(ImageFolder(tmp_path / "folder")).open(image.name)
    with opened.source as source:
        assert (opened.facts.format, opened.facts.virtual_size) == (format, len(theirs))
        assert source.read(5 * MiB, MiB) == theirs[5 * MiB : 6 * MiB]
        assert isinstance(source, confined.ConfinedSource)
        child = source.child
        assert child.folder.is_dir()
    assert child.process.returncode is not None
    assert not child.folder.exists()


@pytest.mark.parametrize(("format", "options"), [("vmdk", "subformat=streamOptimized"), ("qcow2", "cluster_size=64k")])
def test_the_disk_in_an_appliance(tmp_path: Path, format: str, options: str) -> None:
    """An OVA is read where its disk stands, without unpacking; by `nbdsvc copy` and as an image for a volume."""
    disk, folder = convert(tmp_path, format, options), tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(folder / "appliance.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (
            ("a.ovf", DESCRIPTOR % disk.name.encode()),
            (disk.name, disk.read_bytes()),
            ("a.mf", b"SHA1"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    argv = ["nbdsvc", "copy", f"{folder}/appliance.ova#d", tmp_path / "ours", "--verify"]
    subprocess.run([sys.executable, "-m", *argv], check=True, capture_output=True, timeout=60)
    theirs = (tmp_path / "theirs").read_bytes()
    assert (tmp_path / "ours").read_bytes() == theirs
    images = Images(ImageFolder(folder))
    images.check(f"appliance.ova#{disk.name}")
    opened = images.open(f"appliance.ova#{disk.name}")
    with opened.source as source:
        assert (opened.facts.format, opened.facts.virtual_size) == (format, len(theirs))
        assert source.read(5 * MiB, MiB) == theirs[5 * MiB : 6 * MiB]
    assert [path.name for path in folder.iterdir()] == ["appliance.ova"]


def test_what_qemu_refuses_is_a_bad_image_in_its_words(tmp_path: Path) -> None:
    """A file that is not what the facts say: BadImage with qemu-nbd's complaint, no probing."""
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    with (
        (tmp_path / "raw").open("rb") as file,
        pytest.raises(errors.BadImage, match=r"qemu-nbd does not open it: .*VDI"),
    ):
        confined.open_fd(file.fileno(), ImageFacts("vdi", SIZE, SIZE), "raw")


def test_wrong_declaration_and_snapshots_are_refused(tmp_path: Path) -> None:
    """An image is opened as what it is declared to be, or not at all."""
    image = convert(tmp_path, *KINDS[0])
    with pytest.raises(errors.BadImage, match="declared as vdi"):
        open_origin(str(image), "vdi")
    with pytest.raises(errors.Unsupported):
        open_origin(str(image), snapshot="one")
