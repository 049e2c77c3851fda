"""The parts by which the random walk judges: the model of bytes, and the comparison of a whole file with it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from walk.compare import file_faults
from walk.disk import BLOCK, Disk, GiB, content

PLACES = st.integers(0, 8 * BLOCK)
LENGTHS = st.integers(1, 3 * BLOCK)


@given(st.lists(st.tuples(PLACES, LENGTHS, st.booleans())))
def test_a_disk_reads_as_what_was_written(writes: list[tuple[int, int, bool]]) -> None:
    """Writes and zeroes of any alignment, against a plain array of bytes; a copy does not change with its source."""
    disk, plain = Disk(1), bytearray(12 * BLOCK)
    for value, (offset, length, zero) in enumerate(writes, 1):
        saved, before = disk.copy(), bytes(plain)
        data = bytes(length) if zero else content(value, offset, length)
        disk.write(offset, data)
        plain[offset : offset + length] = data
        assert saved.read(0, len(before)) == before
    assert disk.read(0, len(plain)) == bytes(plain)
    assert disk.wrong(0, bytes(plain)) is None


@given(PLACES, LENGTHS, st.integers(0, GiB - 1))
def test_one_wrong_byte_of_a_whole_file_is_found(offset: int, length: int, flipped: int) -> None:
    """Wherever it is: in what was written, beside it, or in what was never touched."""
    path, disk = Path("/dev/shm") / "nbdsvc-test-walk", Disk(1)
    disk.write(offset, content(1, offset, length))
    try:
        with path.open("w+b") as file:
            file.truncate(GiB)
            file.seek(offset)
            file.write(content(1, offset, length))
            file.flush()
            assert file_faults(path, disk) == []
            file.seek(flipped)
            byte = file.read(1)
            file.seek(flipped)
            file.write(bytes([byte[0] ^ 1]))
        assert len(file_faults(path, disk)) == 1
    finally:
        path.unlink(missing_ok=True)


@given(PLACES, LENGTHS)
def test_a_write_that_is_missing_is_found(offset: int, length: int) -> None:
    """A file with nothing in it, where the model has a write."""
    path, disk = Path("/dev/shm") / "nbdsvc-test-walk-empty", Disk(1)
    disk.write(offset, content(1, offset, length))
    try:
        with path.open("wb") as file:
            file.truncate(GiB)
        assert len(file_faults(path, disk)) == 1
        with path.open("r+b") as file:
            file.truncate(GiB - 1)
        assert "bytes, not" in file_faults(path, disk)[0]
    finally:
        path.unlink(missing_ok=True)
