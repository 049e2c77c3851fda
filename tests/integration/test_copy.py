"""The copy engine: against models, on damaged images, killed, cancelled, starved."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import EXTENTS, MiB, write_extents

from nbdsvc import errors
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy


@pytest.mark.row("S074", "S075")
@settings(max_examples=40)
@given(EXTENTS, st.integers(1, 9 * MiB), st.integers(0, 3 * MiB), st.booleans())
def test_destination_reads_like_the_source_whatever_it_held(
    tmp_path_factory: pytest.TempPathFactory,
    extents: list[tuple[int, int, int]],
    size: int,
    more: int,
    journalled: bool,
) -> None:
    """Any sparse source of any size over old data: same bytes, then zeros."""
    folder = tmp_path_factory.mktemp("copy")
    model = write_extents(folder / "source", size, extents)
    target = folder / "target"
    target.write_bytes(b"\xee" * (size + more))
    journal = folder / "journal" if journalled else None
    with sources.open_path(folder / "source") as source:
        result = copy(source, target, size=size + more, journal=journal, fingerprint=b"f")
    assert target.read_bytes() == model + bytes(more)
    assert result.size == size + more
    assert result.skipped == 0


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 300_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=12))
def test_damaged_qcow2_is_an_error_or_bytes_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    """Whatever bytes are changed, the reader answers with bytes or with an error of ours."""
    folder = tmp_path_factory.getbasetemp()
    pristine, image = folder / "pristine.qcow2", tmp_path_factory.mktemp("damaged") / "image"
    if not pristine.exists():
        raw = folder / "pristine.raw"
        write_extents(raw, 8 * MiB, [(0, 200_000, 1), (3 * MiB, 100_000, 2)])
        subprocess.run(
            ["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "cluster_size=4096", str(raw), str(pristine)], check=True
        )
    content = bytearray(pristine.read_bytes())
    for offset, value in damage:
        offset %= len(content)
        content[offset : offset + len(value)] = value
    image.write_bytes(content)
    target = image.with_name("target")
    target.touch()
    try:
        with sources.open_path(image, "qcow2") as source:
            if source.size <= 64 * MiB:
                copy(source, target, destination_is_zero=True)
    except errors.DataError:
        pass


_CHILD = """
import sys
from pathlib import Path
from nbdsvc.datapath import source
from nbdsvc.datapath.copy import copy
folder = Path(sys.argv[1])
with source.open_path(folder / "source") as opened:
    result = copy(opened, folder / "target", journal=folder / "journal", fingerprint=b"f", threads=2)
print(result.skipped, result.size)
"""


@pytest.mark.row("S074")
def test_killed_copy_resumes_bit_identical(tmp_path: Path) -> None:
    """SIGKILL at 20 random instants: the copy is completed by later runs, and its bytes are the source's."""
    import random

    dice = random.Random(3)
    size = 700 * MiB
    content = os.urandom(7 * MiB) * 100
    (tmp_path / "source").write_bytes(content)
    kills, resumed = 0, 0
    for _round in range(10):
        target = tmp_path / "target"
        target.write_bytes(b"")
        os.truncate(target, size)
        (tmp_path / "journal").unlink(missing_ok=True)
        for _kill in range(2):
            child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.DEVNULL)
            time.sleep(dice.uniform(0.1, 0.9))
            kills += child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()
        last = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path)], capture_output=True, text=True, check=True)
        resumed += int(last.stdout.split()[0])
        assert target.read_bytes() == content
    print(f"{kills} kills; {resumed >> 20} MiB of {10 * size >> 20} MiB were not copied again")
    assert kills > 5


def test_journal_of_another_source_is_not_believed(tmp_path: Path) -> None:
    """A finished journal with another fingerprint or size skips nothing."""
    (tmp_path / "source").write_bytes(b"a" * 5 * MiB)
    (tmp_path / "target").touch()
    for mark, skipped in ((b"one", 0), (b"two", 0)):
        with sources.open_path(tmp_path / "source") as source:
            result = copy(source, tmp_path / "target", journal=tmp_path / "journal", fingerprint=mark)
        assert result.skipped == skipped


def test_cancel_is_quick(tmp_path: Path) -> None:
    """A copy that is told to stop ends long before it would have, and says so."""
    size = 4000 * MiB
    with (tmp_path / "target").open("wb") as file:
        file.truncate(size)
    began = time.monotonic()
    slow = sources.open_callback(lambda at, length: (time.sleep(0.02), bytes([1]) * length)[1], size, "raw", "slow")
    with slow, pytest.raises(Stopped):
        copy(slow, tmp_path / "target", should_stop=lambda: time.monotonic() - began > 0.3)
    assert time.monotonic() - began < 5


def test_full_destination_is_said(tmp_path: Path) -> None:
    """ENOSPC in the middle of a copy is OutOfSpace, from whichever thread, without a hang."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mounted)], check=True)
    try:
        (tmp_path / "source").write_bytes(os.urandom(32 * MiB))
        (mounted / "target").touch()
        with sources.open_path(tmp_path / "source") as source, pytest.raises(errors.OutOfSpace, match="No space left"):
            copy(source, mounted / "target", destination_is_zero=True)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_source_that_shrinks_is_an_error_never_zeros(tmp_path: Path) -> None:
    """The file is truncated after it was opened: ReadFailed with the offset."""
    path = tmp_path / "source"
    path.write_bytes(b"a" * 16 * MiB)
    (tmp_path / "target").touch()
    with sources.open_path(path) as source:
        os.truncate(path, 5 * MiB)
        with pytest.raises(errors.ReadFailed, match="shorter"):
            copy(source, tmp_path / "target")


def test_a_callbacks_error_is_the_copys_error(tmp_path: Path) -> None:
    """What a Python source raises is what the copy raises."""

    def pread(offset: int, length: int) -> bytes:
        if offset >= 8 * MiB:
            raise errors.ReadFailed(source="web", offset=offset, reason="the server went away")
        return bytes([1]) * length

    (tmp_path / "target").touch()
    with (
        sources.open_callback(pread, 64 * MiB, "raw", "web") as source,
        pytest.raises(errors.ReadFailed, match="went away"),
    ):
        copy(source, tmp_path / "target")
    assert threading.active_count() < 20
