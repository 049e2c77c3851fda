"""Restoring by comparison: what is written, and what is said when it cannot be."""

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import EXTENTS, MiB, write_extents

from nbdsvc import errors
from nbdsvc.datapath.reconcile import CHUNK, reconcile


def _never() -> bool:
    return False


@given(source=EXTENTS, destination=EXTENTS, size=st.integers(1, 9 * MiB))
def test_it_reads_like_the_source_and_only_differing_chunks_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    source: list[tuple[int, int, int]],
    destination: list[tuple[int, int, int]],
    size: int,
) -> None:
    """The destination has the source's bytes; so much was written as has chunks that differed."""
    folder = tmp_path_factory.mktemp("r")
    wanted, present = (write_extents(folder / name, size, made) for name, made in (("a", source), ("b", destination)))
    seen: list[tuple[int, int]] = []
    written = reconcile(folder / "a", folder / "b", size, lambda done, total, _data: seen.append((done, total)), _never)
    assert (folder / "b").read_bytes() == wanted
    starts = range(0, size, CHUNK)
    assert written == sum(
        len(wanted[at : at + CHUNK]) for at in starts if wanted[at : at + CHUNK] != present[at : at + CHUNK]
    )
    assert seen[-1] == (size, size)


def _bytes_read() -> int:
    """By this process, from wherever (proc(5), rchar)."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_what_neither_has_is_not_read(tmp_path: Path) -> None:
    """A restore of 16 GiB with a MiB in them reads a MiB; one that is too short for its size is said all the same."""
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(16 << 30)
    with (tmp_path / "a").open("r+b") as file:
        file.seek(5 << 30)
        file.write(b"a" * MiB)
    before = _bytes_read()
    assert reconcile(tmp_path / "a", tmp_path / "b", 16 << 30, lambda _d, _t, _w: None, _never) == MiB
    assert _bytes_read() - before < 64 * MiB
    with pytest.raises(errors.ReadFailed, match="0 bytes instead of"):
        reconcile(tmp_path / "a", tmp_path / "b", 32 << 30, lambda _d, _t, _w: None, _never)


def test_it_stops_when_it_is_told(tmp_path: Path) -> None:
    """None, and what was not reached is as it was."""
    (tmp_path / "a").write_bytes(b"a" * 8 * MiB)
    (tmp_path / "b").write_bytes(b"b" * 8 * MiB)
    answers = iter([False, True])
    assert reconcile(tmp_path / "a", tmp_path / "b", 8 * MiB, lambda _d, _t, _w: None, lambda: next(answers)) is None
    assert (tmp_path / "b").read_bytes() == b"a" * 4 * MiB + b"b" * 4 * MiB


def test_a_source_that_is_short_or_gone_is_said(tmp_path: Path) -> None:
    """ReadFailed names it, and the destination keeps its bytes."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b" * 8192)
    for name, reason in (("a", "1 bytes instead of 8192"), ("nothing", "No such file")):
        with pytest.raises(errors.ReadFailed, match=reason):
            reconcile(tmp_path / name, tmp_path / "b", 8192, lambda _d, _t, _w: None, _never)
    assert (tmp_path / "b").read_bytes() == b"b" * 8192


def test_a_short_write_is_met_with_its_reason(tmp_path: Path) -> None:
    """Where a chunk can be written in part only, the restore fails and says why, and does not count it as written."""
    (tmp_path / "a").write_bytes(b"a" * CHUNK)
    (tmp_path / "b").write_bytes(b"b" * CHUNK)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK // 2, before[1]))
    try:
        with pytest.raises(errors.WriteFailed, match="File too large"):
            reconcile(tmp_path / "a", tmp_path / "b", CHUNK, lambda _done, _total, _data: None, _never)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
