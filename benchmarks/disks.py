"""Disks for benchmarks: images with the same bytes in every format, from a mix like that of real disks; file systems."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE, MIB = 8 << 30, 1 << 20
TEXT_MIB = 1400
# source -> (its format, how qemu-img makes it of the raw one)
SOURCES = {
    "raw": ("raw", None),
    "plain qcow2": ("qcow2", []),
    "zlib qcow2": ("qcow2", ["-c"]),
    "zstd qcow2": ("qcow2", ["-c", "-o", "compression_type=zstd"]),
}


def make_raw(folder: Path, times: int = 1) -> Path:
    """8 GiB with about 2 GiB in pieces of 64 KiB to 32 MiB: 70 % files of /usr, 20 % noise, 10 % zeros that are stored.

    times: so much of both.
    """
    raw, text, dice = folder / "raw", folder / "text", random.Random(1)
    subprocess.run(
        ["sh", "-c", f"tar cf - /usr/lib /usr/share 2>/dev/null | head -c {times * TEXT_MIB}M > {text}"], check=True
    )
    raw.touch()
    os.truncate(raw, times * SIZE)
    at = 0
    with text.open("rb") as words, raw.open("r+b") as file:
        while at < times * SIZE - 100 * MIB and words.tell() < text.stat().st_size - 32 * MIB:
            length, kind = dice.choice([64 << 10, 256 << 10, MIB, 4 * MIB, 32 * MIB]), dice.random()
            file.seek(at)
            file.write(words.read(length) if kind < 0.7 else os.urandom(length) if kind < 0.9 else bytes(length))
            at += length + dice.choice([64 << 10, MIB, 4 * MIB, 64 * MIB])
    text.unlink()
    return raw


def make_sources(folder: Path, wanted: set[str], times: int = 1) -> dict[str, Path]:
    made = {"raw": make_raw(folder, times)}
    for name, (_format, options) in SOURCES.items():
        if options is not None and name in wanted:
            made[name] = folder / name.replace(" ", "-")
            convert = ["qemu-img", "convert", "-W", "-m", "16", "-f", "raw", "-O", "qcow2"]
            subprocess.run([*convert, *options, made["raw"], made[name]], check=True)
    return made


@contextmanager
def xfs(folder: Path, size: int) -> Iterator[Path]:
    """A folder on an XFS of its own, of so many bytes, on which files share blocks."""
    disk, mounted = folder / "disk", folder / "xfs"
    with disk.open("wb") as file:
        file.truncate(size)
    mounted.mkdir()
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(mounted)], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
