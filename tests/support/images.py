"""Generated disks and images, with the bytes they read as."""

import subprocess
from pathlib import Path

from hypothesis import strategies as st

KiB, MiB = 1 << 10, 1 << 20

# (offset, length, byte): the offset is taken modulo the disk's size, and the length cut at its end.
EXTENTS = st.lists(st.tuples(st.integers(0, 9 * MiB), st.integers(1, 2 * MiB), st.integers(0, 255)), max_size=8)


def write_extents(path: Path, size: int, extents: list[tuple[int, int, int]]) -> bytes:
    """A sparse file with (offset, length, byte) extents; what it reads as."""
    model = bytearray(size)
    with path.open("wb") as file:
        file.truncate(size)
        for offset, length, value in extents:
            offset, length = offset % size, min(length, size - offset % size)
            file.seek(offset)
            file.write(bytes([value]) * length)
            model[offset : offset + length] = bytes([value]) * length
    return bytes(model)


def qemu_img(*words: str | Path) -> str:
    """Runs qemu-img; what it printed. AssertionError with its standard error where it failed."""
    done = subprocess.run(["qemu-img", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
