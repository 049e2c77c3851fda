"""The qcow2 reader against QEMU: every cluster size, both versions, both compressions, subclusters, snapshots."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import EXTENTS, KiB, MiB, qemu_img, write_extents

from nbdsvc import errors
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import copy
from nbdsvc.location import Location

# (verb, offset, length) in units of 512 bytes, each over what there was before.
Change = tuple[str, int, int]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "write -z", "write -z -u", "discard"]), st.integers(0, 16000), st.integers(1, 2000)
    ),
    max_size=5,
)


class ImageSpec(NamedTuple):
    """What an image is to be."""

    version: int
    cluster_bits: int
    compression: str
    extended: bool
    sectors: int

    @property
    def options(self) -> str:
        found = [f"compat={'0.10' if self.version == 2 else '1.1'}", f"cluster_size={1 << self.cluster_bits}"]
        if self.version == 3 and self.compression == "zstd":
            found.append("compression_type=zstd")
        if self.is_extended:
            found.append("extended_l2=on")
        return ",".join(found)

    @property
    def is_extended(self) -> bool:
        return self.extended and self.version == 3 and self.cluster_bits >= 14


SPECS = st.builds(
    ImageSpec,
    st.sampled_from([2, 3, 3]),
    st.integers(9, 21),
    st.sampled_from(["none", "zlib", "zstd"]),
    st.booleans(),
    st.integers(1, 20 * MiB // 512),
)


def make_image(raw: Path, image: Path, spec: ImageSpec, changes: list[Change]) -> None:
    packed = [] if spec.compression == "none" else ["-c"]
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *packed, "-o", spec.options, raw, image)
    change(image, spec.sectors, changes)


def change(image: Path, sectors: int, changes: list[Change]) -> None:
    commands = []
    for verb, offset, length in changes:
        offset %= sectors
        pattern = "-P 85 " if verb == "write" else ""
        commands += ["-c", f"{verb} {pattern}{offset * 512} {min(length, sectors - offset) * 512}"]
    if commands:
        command = ["qemu-io", "-d", "unmap", "-f", "qcow2", *commands, str(image)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def assert_same(image: Path, folder: Path, snapshot: str | None = None) -> None:
    """Our bytes are QEMU's, and what we call a hole is zeros for QEMU too."""
    theirs, ours = folder / "theirs", folder / "ours"
    chosen = ["-l", f"snapshot.name={snapshot}"] if snapshot else []
    qemu_img("convert", "-f", "qcow2", *chosen, "-O", "raw", image, theirs)
    ours.write_bytes(b"")
    with sources.open_path(image, "qcow2", snapshot) as source:
        copy(source, Location.file(ours), destination_is_zero=True)
        expected = theirs.read_bytes()
        if snapshot:  # qemu-img gives each snapshot the size that the disk has now; ours has the one that it had
            assert not any(expected[source.size :])
            expected = expected[: source.size]
        assert source.size == len(expected)
        assert ours.read_bytes().ljust(source.size, b"\0") == expected
        end = 0
        for offset, length, zero in source.extents():
            assert offset == end
            end += length
            assert not zero or not any(expected[offset : offset + length])
        assert end == source.size


@pytest.mark.row("S074")
@settings(max_examples=60)
@given(EXTENTS, SPECS, CHANGES)
def test_reads_as_qemu_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    extents: list[tuple[int, int, int]],
    spec: ImageSpec,
    changes: list[Change],
) -> None:
    """Differential: any image that QEMU makes and then changes gives the same bytes through us and through qemu-img."""
    folder = tmp_path_factory.mktemp("qcow2")
    write_extents(folder / "raw", spec.sectors * 512, extents)
    make_image(folder / "raw", folder / "image", spec, changes)
    assert_same(folder / "image", folder)


@settings(max_examples=15)
@given(SPECS, st.lists(CHANGES, min_size=1, max_size=3), st.integers(0, 4 * MiB // 512))
def test_internal_snapshots_by_name(
    tmp_path_factory: pytest.TempPathFactory, spec: ImageSpec, rounds: list[list[Change]], more: int
) -> None:
    """Each internal snapshot reads as it was taken, whatever was written, or grown, since."""
    folder = tmp_path_factory.mktemp("snapshots")
    image = folder / "image"
    qemu_img("create", "-q", "-f", "qcow2", "-o", spec.options, image, str(spec.sectors * 512))
    for number, changes in enumerate(rounds):
        change(image, spec.sectors, changes)
        qemu_img("snapshot", "-c", f"snap {number}", image)
    if more and spec.version == 3:
        qemu_img("resize", "-q", "-f", "qcow2", image, str((spec.sectors + more) * 512))
    change(image, spec.sectors, [("write", 3, 700)])
    assert_same(image, folder)
    for number in range(len(rounds)):
        assert_same(image, folder, f"snap {number}")
    with pytest.raises(errors.BadImage, match="no snapshot called unknown"):
        sources.open_path(image, "qcow2", "unknown")


@pytest.mark.parametrize("cluster_bits", range(9, 22))
def test_every_cluster_size_with_noise(tmp_path: Path, cluster_bits: int) -> None:
    """Incompressible bytes, compressed and plain clusters side by side, an odd tail: at each cluster size."""
    dice = random.Random(cluster_bits)
    raw = tmp_path / "raw"
    raw.write_bytes(dice.randbytes(300 * KiB) + bytes(200 * KiB) + b"text " * 60000 + dice.randbytes(5 * 512))
    for compression in ("zlib", "zstd"):
        spec = ImageSpec(3, cluster_bits, compression, cluster_bits % 2 == 0, raw.stat().st_size // 512)
        make_image(raw, tmp_path / "image", spec, [("write", 3, 5), ("write -z", 100, 300), ("write", 700, 9)])
        assert_same(tmp_path / "image", tmp_path)


def test_a_snapshot_table_that_lies(tmp_path: Path) -> None:
    """A snapshot table behind the end of the file, or with absurd sizes, is refused and nothing is read from there."""
    image = tmp_path / "image"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    qemu_img("snapshot", "-c", "one", image)
    pristine = image.read_bytes()
    table = int.from_bytes(pristine[64:72], "big")
    for at, value in (
        (60, b"\xff\xff\xff\xff"),
        (64, b"\x7f" + bytes(7)),
        (table + 36, b"\xff" * 4),
        (table, b"\xff" * 8),
    ):
        image.write_bytes(pristine[:at] + value + pristine[at + len(value) :])
        with pytest.raises(errors.BadImage):
            sources.open_path(image, "qcow2", "one")


@pytest.mark.parametrize(
    ("options", "cluster"), [("", 2 * MiB), (",extended_l2=on", 2 * MiB), (",extended_l2=on", 16 * KiB)]
)
@pytest.mark.parametrize("kept", [1, 5000, MiB + 5000])
def test_a_file_that_ends_in_its_last_cluster(tmp_path: Path, options: str, cluster: int, kept: int) -> None:
    """What is there is read; what is not is an error, also where a read or a subcluster begins behind the file's end."""
    image, size, kept = tmp_path / "image", 6 * MiB, kept % cluster
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}{options}", image, str(size))
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 6M", image], check=True, stdout=subprocess.DEVNULL)
    os.truncate(image, image.stat().st_size - cluster + kept)
    with sources.open_path(image, "qcow2") as source:
        assert source.read(0, size - cluster + kept) == b"\7" * (size - cluster + kept)
        for offset in (size - cluster + kept - 1, size - 512):
            with pytest.raises(errors.BadImage):
                source.read(offset, size - offset)
    argv = ["nbdsvc", "copy", image, tmp_path / "out"]
    done = subprocess.run([sys.executable, "-m", *argv], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "truncated" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "out").exists()
