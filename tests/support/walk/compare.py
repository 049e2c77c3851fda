"""Is a whole volume as the model says? By its file, past the product, and by what an export serves."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from images import qemu_img

from walk.disk import BLOCK, Disk, GiB

# What one request reads, and a block_status covers.
READ, STATUS = 4 << 20, GiB
# The states of base:allocation that say "reads as zeros" (NBD protocol, STATE_ZERO).
_ZERO = 2


def file_faults(path: Path, disk: Disk) -> list[str]:
    """Every byte of the file: what is allocated is read, and what is not allocated must be zeros in the model."""
    if not path.exists():
        return [f"{path.name} is not there"]
    size = path.stat().st_size
    if not disk.bytes <= size <= disk.most * GiB:
        return [f"{path.name} has {size} bytes, not {disk.bytes} (or as much as {disk.most} GiB)"]
    with path.open("rb") as file:
        found = list(_data(file.fileno(), size))
        reader = ((begin, os.pread(file.fileno(), end - begin, begin)) for begin, end in _cut(found))
        return _faults(path.name, disk, found, reader)


def image_faults(path: Path, form: str, disk: Disk) -> list[str]:
    """Of an image, as qemu-img reads it; a raw one as it is."""
    if form == "raw":
        return file_faults(path, disk)
    with tempfile.TemporaryDirectory(dir=path.parents[1]) as folder:
        raw = Path(folder) / path.name
        qemu_img("convert", "-f", form, "-O", "raw", path, raw)
        return file_faults(raw, disk)


def export_faults(name: str, connection: Any, disk: Disk) -> list[str]:
    """The size, every byte that is not said to be zeros, and wherever the model has written, whatever is said there."""
    size = connection.get_size()
    if not disk.bytes <= size <= disk.most * GiB:
        return [f"the export of {name} has {size} bytes, not {disk.bytes} (or as much as {disk.most} GiB)"]
    found = list(_served_data(connection, size))
    faults = _faults(
        name, disk, found, ((begin, bytes(connection.pread(end - begin, begin))) for begin, end in _cut(found))
    )
    borders = {0, size - BLOCK, disk.bytes - BLOCK, *(number * BLOCK for number in disk.blocks)}
    places = _cut(_joined(sorted(borders)))
    return faults or _wrong(name, disk, ((begin, bytes(connection.pread(end - begin, begin))) for begin, end in places))


def _faults(name: str, disk: Disk, data: list[tuple[int, int]], reader: Iterable[tuple[int, bytes]]) -> list[str]:
    missing = _uncovered(sorted(disk.blocks), data)
    lost = [f"{name} has nothing at byte {number * BLOCK}, where there was a write" for number in missing[:1]]
    return lost or _wrong(name, disk, reader)


def _wrong(name: str, disk: Disk, reader: Iterable[tuple[int, bytes]]) -> list[str]:
    for offset, found in reader:
        if text := disk.wrong(offset, found):
            return [f"{name}: {text}"]
    return []


def _uncovered(numbers: list[int], data: list[tuple[int, int]]) -> list[int]:
    """Blocks of which no byte is in an extent of `data`; both are sorted."""
    missing, extents = [], iter(data)
    begin, end = next(extents, (0, 0))
    for number in numbers:
        while end <= number * BLOCK and (following := next(extents, None)):
            begin, end = following
        if not (begin < (number + 1) * BLOCK and end > number * BLOCK):
            missing.append(number)
    return missing


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is a hole up to the end of the file
                return
            raise
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


def _served_data(connection: Any, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        for length, state in _status(connection, at, min(STATUS, size - at)):
            if not state & _ZERO:
                yield at, min(size, at + length)
            at += length


def _status(connection: Any, at: int, length: int) -> list[tuple[int, int]]:
    found: list[int] = []

    def keep(_context: str, _offset: int, entries: list[int], _error: Any) -> int:
        found.extend(entries)
        return 0

    connection.block_status(length, at, keep)
    return list(zip(found[::2], found[1::2], strict=True))


def _joined(places: list[int]) -> list[tuple[int, int]]:
    """Extents of the blocks that begin there, sorted: those that touch are one."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] >= place:
            found[-1] = (found[-1][0], place + BLOCK)
        else:
            found.append((place, place + BLOCK))
    return found


def _cut(extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for begin, end in extents:
        for at in range(begin, end, READ):
            yield at, min(end, at + READ)
