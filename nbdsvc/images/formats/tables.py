"""Whether an image holds every block that its tables place: one that was cut off would read as zeros there.

QEMU takes what lies behind the end of a file for zeros, or fails in the middle of a copy; so the tables are read here,
before any tool opens the image. What is read is bounded by the file's own size. Format facts as in images/formats/foreign.py.
"""

import sys
from array import array
from collections.abc import Callable, Iterator

from nbdsvc.units import MiB

Bytes = Callable[[int, int], bytes]
_SECTOR = 512
# As much of a table as is in memory at once.
_PIECE = MiB
_VHD_UNUSED, _VDI_UNUSED = 0xFFFFFFFF, 0xFFFFFFFE
_VHDX_STATE, _VHDX_PRESENT, _VHDX_OFFSET = 7, 6, ~(MiB - 1) & (1 << 64) - 1
# A marker of a compressed grain: the guest's sector, and the length of what follows.
_MARKER = 12


def entries(read: Bytes, at: int, count: int, code: str = "I", order: str = "little") -> Iterator["array[int]"]:
    """A table's numbers, some at a time; `code`: of the module array."""
    width = array(code).itemsize
    for first in range(0, count, _PIECE // width):
        found = array(code, read(at + first * width, min(_PIECE // width, count - first) * width))
        if order != sys.byteorder:
            found.byteswap()
        yield found


def _last(tables: Iterator["array[int]"], unused: int) -> tuple[int, int]:
    """(largest entry below `unused`, its index); (-1, -1) where there is none."""
    largest, place, first = -1, -1, 0
    for table in tables:
        found = max((entry for entry in set(table) if entry < unused), default=-1)
        if found > largest:
            largest, place = found, first + table.index(found)
        first += len(table)
    return largest, place


def vhd_end(read: Bytes, table: int, count: int, block: int, virtual: int) -> int:
    """The end of the last block of a dynamic VHD, in bytes: a bitmap of whole sectors, then the guest's bytes."""
    sector, index = _last(entries(read, table, count, order="big"), _VHD_UNUSED)
    bitmap = -(-block // _SECTOR // 8 // _SECTOR) * _SECTOR
    return 0 if sector < 0 else sector * _SECTOR + bitmap + _used(index, block, virtual)


def vdi_end(read: Bytes, table: int, count: int, data: int, block: int, virtual: int) -> int:
    """The end of the last block of a VDI, in bytes: blocks are numbered from the beginning of the data."""
    number, index = _last(entries(read, table, count), _VDI_UNUSED)
    return 0 if number < 0 else data + number * block + _used(index, block, virtual)


def vhdx_end(read: Bytes, table: int, count: int, block: int) -> int:
    """The end of the last block of a VHDX, in bytes; entries of bitmaps, among the others, are never present here."""
    end = 0
    for found in entries(read, table, count, "Q"):
        placed = (entry & _VHDX_OFFSET for entry in found if entry & _VHDX_STATE >= _VHDX_PRESENT)
        end = max(end, max(placed, default=-block) + block)
    return end


def vmdk_end(read: Bytes, directory: tuple[int, int], count: int, grain: int, virtual: int, packed: bool) -> int:
    """The end of the last grain, or table of grains, of a sparse VMDK, in bytes. count: entries of a table.

    directory: (offset, number of tables). Tables that stand in one place are read once, so that no more is read than the
    file has, but for tables that overlap. packed: grains are compressed, and each says its length itself.
    """
    end, last, place, seen, first = 0, 0, 0, set[int](), 0
    for tables in entries(read, *directory):
        for index, sector in enumerate(tables, first):
            if sector and sector not in seen:
                seen.add(sector)
                end = max(end, sector * _SECTOR + count * 4)
                for table in entries(read, sector * _SECTOR, count):
                    if (found := max(table)) > last:
                        last, place = found, index * count + table.index(found)
        first += len(tables)
    # The value 1 means a grain of zeros.
    if last <= 1:
        return end
    size = _packed(read, last * _SECTOR) if packed else _used(place, grain, virtual)
    return max(end, last * _SECTOR + size)


def _packed(read: Bytes, at: int) -> int:
    return _MARKER + int.from_bytes(read(at + 8, 4), "little")


def _used(index: int, block: int, virtual: int) -> int:
    """Bytes of the guest in this block: the last may be needed in part only."""
    return max(0, min(block, virtual - index * block))
