"""An image that was cut off anywhere is refused or has the same bytes: what is lost is never read as zeros."""

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import MiB, qemu_img

from nbdsvc import errors
from nbdsvc.images import opening
from nbdsvc.images.inspection import inspect

SIZE = 9 * MiB + 512
# (offset, length) of noise; nothing of it is zeros, so that what is lost shows.
PLACES = [(0, 70_000), (3 * MiB + 512, 65_536), (6 * MiB, 512), (SIZE - 1536, 1536)]
KINDS = {
    "vmdk": ("vmdk", "subformat=monolithicSparse"),
    "vmdk stream": ("vmdk", "subformat=streamOptimized"),
    "vhd": ("vpc", "subformat=dynamic,force_size=on"),
    "vhd fixed": ("vpc", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx", "subformat=dynamic,block_size=1M"),
    "vhdx fixed": ("vhdx", "subformat=fixed"),
    "vdi": ("vdi", "static=off"),
    "vdi static": ("vdi", "static=on"),
    "qcow2": ("qcow2", "cluster_size=64k"),
    "qcow2 compressed": ("qcow2", "cluster_size=64k"),
    "qcow2 small": ("qcow2", "cluster_size=512"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder, noise = tmp_path_factory.mktemp("images"), random.Random(4)
    with (folder / "raw").open("wb") as file:
        file.truncate(SIZE)
        for offset, length in PLACES:
            file.seek(offset)
            file.write(bytes(noise.choices(range(1, 256), k=length)))
    for name, (format, options) in KINDS.items():
        packed = ["-c"] if "compressed" in name else []
        qemu_img("convert", "-f", "raw", "-O", format, *packed, "-o", options, folder / "raw", folder / name)
    return folder, (folder / "raw").read_bytes()


def outcome(path: Path) -> bytes | str:
    """The bytes that the image reads as, or the refusal."""
    with path.open("rb") as file:
        try:
            facts = inspect(opening.reader(file.fileno()), path.stat().st_size, path.name)
            with opening.open_fd(file.fileno(), facts, path.name) as source:
                return b"".join(source.read(at, min(MiB, source.size - at)) for at in range(0, source.size, MiB))
        except errors.DataError as error:
            return str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_images_are_read(images: tuple[Path, bytes], kind: str) -> None:
    """Each kind, as qemu-img writes it, has the disk's bytes."""
    folder, disk = images
    found = outcome(folder / kind)
    assert isinstance(found, bytes), found
    assert found.rstrip(b"\0") == disk.rstrip(b"\0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("less", [512, 65_536, 3 * MiB])
def test_an_image_without_its_end_is_refused_or_whole(images: tuple[Path, bytes], kind: str, less: int) -> None:
    """Cut by a sector, a cluster, megabytes: never zeros instead of what was there."""
    folder, disk = images
    check_cut(folder, kind, disk, (folder / kind).stat().st_size - less)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_cut_anywhere(images: tuple[Path, bytes], data: st.DataObject) -> None:
    """Any kind at any length that has a whole sector: less may be the beginning of anything."""
    folder, disk = images
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    size = (folder / kind).stat().st_size
    near = st.integers(1, 200_000).map(lambda less: max(512, size - less))
    check_cut(folder, kind, disk, data.draw(st.integers(512, size - 1) | near))


def check_cut(folder: Path, kind: str, disk: bytes, length: int) -> None:
    """A fixed VHD without its footer is nothing but raw bytes."""
    path = folder / f"cut {kind}"
    subprocess.run(["cp", "--sparse=always", folder / kind, path], check=True)
    with path.open("r+b") as file:
        file.truncate(max(0, length))
    found = outcome(path)
    if isinstance(found, bytes) and found.rstrip(b"\0") != disk.rstrip(b"\0"):
        assert kind == "vhd fixed", f"{kind} cut to {length} is read as something else"
    if isinstance(found, str):
        assert "Transport endpoint" not in found
