"""VMDK, VHD, VHDX and VDI through the locked-down child: the same bytes as by qemu-img, and nothing left behind."""

import fcntl
import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from images import KiB, MiB, qemu_img, write_extents
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.copytool.endpoints import open_source
from nbdsvc.datapath.copy import copy
from nbdsvc.datapath.source import Source
from nbdsvc.images import sandbox
from nbdsvc.images.image_store import ImageFolder
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.resolve import Images
from nbdsvc.images.spool import Spool
from nbdsvc.location import Location
from nbdsvc.model.context import ANONYMOUS

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
        assert isinstance(source, sandbox.ConfinedSource)
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
    assert images.resolve(f"appliance.ova#{disk.name}", ANONYMOUS).endswith(f"#{disk.name}")
    opened = images.open(f"appliance.ova#{disk.name}")
    with opened.source as source:
        assert (opened.facts.format, opened.facts.virtual_size) == (format, len(theirs))
        assert source.read(5 * MiB, MiB) == theirs[5 * MiB : 6 * MiB]
    assert [path.name for path in folder.iterdir()] == ["appliance.ova"]


def test_what_qemu_refuses_is_a_bad_image_in_its_words(tmp_path: Path) -> None:
    """A file that is not what the facts say: BadImage with qemu-nbd's error, no probing."""
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    with (
        (tmp_path / "raw").open("rb") as file,
        pytest.raises(errors.BadImage, match=r"qemu-nbd does not open it: .*VDI"),
    ):
        sandbox.open_fd(file.fileno(), ImageFacts("vdi", SIZE, SIZE), "raw")


def test_wrong_declaration_and_snapshots_are_refused(tmp_path: Path) -> None:
    """An image is opened as what it is declared to be, or not at all."""
    image = convert(tmp_path, *KINDS[0])
    with pytest.raises(errors.BadImage, match="declared as vdi"):
        open_source(str(image), "vdi")
    with pytest.raises(errors.Unsupported):
        open_source(str(image), snapshot="one")


def test_a_child_that_ends_gives_its_cause(tmp_path: Path) -> None:
    """Killed in the middle: the error says so, not that a socket is not connected."""
    image = convert(tmp_path, "vdi", "static=on")
    with open_source(str(image)).source as source:
        assert isinstance(source, sandbox.ConfinedSource)
        os.kill(descendant_of(source.child.process.pid, "qemu-nbd"), signal.SIGKILL)
        # The kernel ends its processes one after the other, and until then they answer.
        words = wait_until(lambda: error_of(source))
        assert "ended by signal 9" in words
        with pytest.raises(errors.BadImage, match="ended by signal 9"):
            copy(source, Location.file(tmp_path / "raw"))


def descendant_of(pid: int, name: str) -> int:
    """The process of this name below pid."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == name:
            return int(child)
        if found := descendant_of(int(child), name):
            return found
    return 0


def error_of(source: Source) -> str:
    try:
        source.read(5 * MiB, MiB)
    except errors.BadImage as error:
        return str(error)
    return ""


def test_nothing_outlives_a_killed_copy(tmp_path: Path) -> None:
    """SIGKILL in the middle of a copy: no child is left, and the next one removes the folder, which no process holds."""
    image, spool = convert(tmp_path, "vmdk", "subformat=monolithicSparse"), tmp_path / "t"
    spool.mkdir()
    argv = [sys.executable, "-m", "nbdsvc", "copy", image, tmp_path / "out", "--limit", "1M"]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(spool)}, stderr=subprocess.DEVNULL) as copying:
            wait_until(lambda: children_of(spool))
            copying.send_signal(number)
            copying.wait(30)
        wait_until(lambda: not children_of(spool))
        left = list(spool.iterdir())
        assert len(left) == (number == signal.SIGKILL)
        for folder in left:
            os.utime(folder, (0, 0))
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_SH)
            Spool(spool, 0, "").sweep()
            assert folder.exists()
            os.close(held)
            Spool(spool, 0, "").sweep()
            assert not folder.exists()


def children_of(folder: Path) -> list[str]:
    """The processes with this folder in their command line that are not the copy itself: bwrap and what it runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"bwrap" in words and str(folder).encode() in words:
            found.append(path.parent.name)
    return found
