"""The copy engine: against models, on damaged images, killed, cancelled, starved."""

import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import EXTENTS, MiB, qemu_img, write_extents
from stopping import IN_HAND, THREADS, EndlessSource
from waiting import end_of, wait_until

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.datapath.rate_limit import Limit, cores
from nbdsvc.location import Location


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
        result = copy(source, Location.file(target), size=size + more, journal=journal, fingerprint=b"f")
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
                copy(source, Location.file(target), destination_is_zero=True)
    except errors.DataError:
        pass


def test_journal_of_another_source_is_not_believed(tmp_path: Path) -> None:
    """A finished journal with another fingerprint or size skips nothing."""
    (tmp_path / "source").write_bytes(b"a" * 5 * MiB)
    (tmp_path / "target").touch()
    for mark, skipped in ((b"one", 0), (b"two", 0)):
        with sources.open_path(tmp_path / "source") as source:
            result = copy(source, Location.file(tmp_path / "target"), journal=tmp_path / "journal", fingerprint=mark)
        assert result.skipped == skipped


def test_cancel_is_quick(tmp_path: Path) -> None:
    """A copy that is stopped reads no more than its threads had begun, and says so."""
    endless = EndlessSource()
    with endless.open() as source, sinks.nowhere() as sink, pytest.raises(Stopped):
        end_of(lambda: copy(source, sink, threads=THREADS, should_stop=endless.should_stop))
    assert endless.late <= IN_HAND


def test_full_destination_is_said(tmp_path: Path) -> None:
    """ENOSPC in the middle of a copy is OutOfSpace, from whichever thread, without a hang."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mounted)], check=True)
    try:
        (tmp_path / "source").write_bytes(os.urandom(32 * MiB))
        (mounted / "target").touch()
        with sources.open_path(tmp_path / "source") as source, pytest.raises(errors.OutOfSpace, match="No space left"):
            copy(source, Location.file(mounted / "target"), destination_is_zero=True)
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
            copy(source, Location.file(tmp_path / "target"))


_SHRINKING = """
import faulthandler, os, random, sys, threading, time
from pathlib import Path
from nbdsvc import errors
from nbdsvc.datapath import sink, source
from nbdsvc.datapath.copy import copy
faulthandler.enable()
folder, dice, failed = Path(sys.argv[1]), random.Random(1), 0
for round in range(40):
    (folder / "source").write_bytes(b"a" * (48 << 20))
    with source.open_path(folder / "source") as opened, sink.open_path(folder / "target") as target:
        delay, left = dice.uniform(0, 0.012), dice.randrange(48 << 20)
        shrink = threading.Thread(target=lambda: (time.sleep(delay), os.truncate(folder / "source", left)))
        shrink.start()
        try:
            copy(opened, target)
        except errors.ReadFailed as error:
            failed += 1
            assert "shorter" in str(error), error
        shrink.join()
print(failed)
"""


def test_a_source_that_shrinks_in_any_moment_is_an_error_never_a_crash(tmp_path: Path) -> None:
    """The file is truncated while its pages are looked at and written: ReadFailed, or it was too late to matter."""
    (tmp_path / "target").touch()
    ended = subprocess.run([sys.executable, "-c", _SHRINKING, tmp_path], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) > 0


def test_a_qcow2_that_shrinks_is_an_error_never_zeros(tmp_path: Path) -> None:
    """The image is truncated after it was opened, plain or compressed: an error with the offset."""
    (tmp_path / "raw").write_bytes(os.urandom(16 * MiB))
    (tmp_path / "target").touch()
    for packed in ([], ["-c"]):
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *packed, tmp_path / "raw", tmp_path / "image")
        with sources.open_path(tmp_path / "image", "qcow2") as source:
            os.truncate(tmp_path / "image", 5 * MiB)
            with pytest.raises(errors.DataError, match="shorter"):
                copy(source, Location.file(tmp_path / "target"))


def test_a_limit_changes_while_it_runs(tmp_path: Path) -> None:
    """Two jobs share a limit; when it is lifted they go on at once."""
    limit, ended = Limit(4 * MiB), []

    def job(name: str) -> None:
        (tmp_path / name).touch()
        with sources.open_callback(lambda _at, length: b"x" * length, 32 * MiB, "raw", name) as source:
            copy(
                source,
                Location.file(tmp_path / name),
                limits=[limit],
                on_progress=lambda done, _total, _data: progress.update({name: done}),
            )
        ended.append(name)

    progress: dict[str, int] = {}
    jobs = [threading.Thread(target=job, args=(name,)) for name in ("one", "two")]
    began = time.monotonic()
    for thread in jobs:
        thread.start()
    wait_until(lambda: sum(progress.values()) > 10 * MiB)
    done, seconds = sum(progress.values()), time.monotonic() - began
    # What the limit allows in that time, a burst of 0.1 s, and one piece of 1 MiB for each of eight threads: however slow
    # the machine is, never more.
    assert done <= (seconds + 0.1) * 4 * MiB + 8 * MiB
    assert not ended
    limit.rate = 0
    wait_until(lambda: sorted(ended) == ["one", "two"])


def test_processor_time_is_limited(tmp_path: Path) -> None:
    """A copy that packs, which uses all cores, never gets more time of them than its limit; lifted, it ends."""
    share, piece = 0.25, os.urandom(MiB)
    began = time.process_time()
    zlib.compress(piece, 1)
    # Pieces of 1 MiB that threads have begun before they meet the limit, a burst of 0.1 s, and what this test itself uses.
    slack = 2 * THREADS * (time.process_time() - began) + 0.2
    (tmp_path / "raw").write_bytes(piece * 256)
    limit, ended = Limit(cores(share)), threading.Event()

    def job() -> None:
        with (
            sources.open_path(tmp_path / "raw") as source,
            sinks.create_qcow2(tmp_path / "packed", 256 * MiB, "zlib") as sink,
        ):
            copy(source, sink, threads=THREADS, cpu=limit)
        ended.set()

    thread = threading.Thread(target=job)
    started, before = time.monotonic(), time.process_time()
    thread.start()
    wait_until(lambda: time.process_time() - before > slack + 0.5)
    assert time.process_time() - before <= (time.monotonic() - started) * share + slack
    assert not ended.is_set()
    limit.rate = 0
    thread.join(30)
    assert ended.is_set()


def test_blocks_are_shared_where_the_file_system_can(tmp_path: Path) -> None:
    """On XFS a raw file is put into a larger destination without moving a byte, and old data behind it becomes zeros."""
    disk, mounted = tmp_path / "xfs", tmp_path / "mounted"
    with disk.open("wb") as file:
        file.truncate(320 * MiB)
    subprocess.run(["mkfs.xfs", "-q", str(disk)], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(mounted)], check=True)
    try:
        content = os.urandom(32 * MiB)
        (mounted / "source").write_bytes(content)
        (mounted / "target").write_bytes(b"old" * 16 * MiB)
        with sources.open_path(mounted / "source") as source:
            result = copy(source, Location.file(mounted / "target"), size=40 * MiB, may_clone=True)
        assert (result.cloned, result.data, result.size) == (32 * MiB, 0, 40 * MiB)
        found = (mounted / "target").read_bytes()
        assert found[: 40 * MiB] == content + bytes(8 * MiB)
        assert found[40 * MiB :] == (b"old" * 16 * MiB)[40 * MiB :]
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


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
        copy(source, Location.file(tmp_path / "target"))
    assert threading.active_count() < 20
