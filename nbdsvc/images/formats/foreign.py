"""Judges the headers of formats that qemu-nbd reads for us: VMDK, VHD (`vpc`), VHDX and VDI.

An image that names another file, has a parent or is of an unknown version is refused here. Format facts: VMware Virtual
Disk Format 1.1, Microsoft's VHD and VHDX specifications, VirtualBox's VDICore.h.
"""

import re
import struct
import uuid
from collections.abc import Callable, Iterable

from nbdsvc import errors
from nbdsvc.images.formats import tables
from nbdsvc.units import KiB, MiB, TiB

Read = Callable[[int, int], bytes]
Content = bytes  # a method is called so
# As for the L1 table of a qcow2: what a reader keeps in memory because a header says so.
_TABLE_MAX_BYTES = 32 * MiB
# The largest disk that VHDX and VMDK allow; the other formats end earlier.
_VIRTUAL_MAX = 64 * TiB
_SECTOR = 512
_FOOTER_HOLDS_TABLE = (1 << 64) - 1
# Bytes of a descriptor that QEMU reads.
_DESCRIPTOR_MAX = 20 * KiB
_BLOCK_MAX = 256 * MiB
_VHD_VERSION = 0x00010000
_VDI_VERSION = 0x00010001
_VMDK_COMPRESSED = 1 << 16
_DYNAMIC_VHD = 3
_HAS_PARENT = 2
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
_VHDX_NEEDED = (_FILE_PARAMETERS, _DISK_SIZE, _SECTOR_SIZE)
_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le


class _Header:
    """Bounded reading of one image's header; what is not there is a refusal."""

    def __init__(self, read: Read, size: int, name: str) -> None:
        self._read = read
        self.size = size
        self._name = name

    def bytes(self, offset: int, length: int) -> bytes:
        self.refuse([(offset + length > self.size, "its header is not within the file: is it truncated?")])
        return bytes(self._read(offset, length))

    def table(self, offset: int, length: int) -> Content:
        """Like `bytes`, for a position that a table gives."""
        self.refuse([(offset + length > self.size, "it is truncated: a table stands behind its end")])
        return bytes(self._read(offset, length))

    def fields(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(layout, self.bytes(offset, struct.calcsize(layout)))

    def refuse(self, checks: Iterable[tuple[object, str]]) -> None:
        for wrong, reason in checks:
            if wrong:
                raise errors.BadImage(image=self._name, reason=reason)

    def check_whole(self, end: int) -> None:
        """No block that the tables place ends behind the file's end."""
        lacking = f"it is truncated: its tables place data up to byte {end}, and it has {self.size} bytes"
        self.refuse([(end > self.size, lacking)])

    def check_disk(self, virtual: int, table_at: int, table_bytes: int) -> None:
        """The virtual size is a disk's, and the table that maps it is small and within the file."""
        self.refuse(
            (
                (virtual == 0, "its virtual size is 0"),
                (virtual > _VIRTUAL_MAX, "its virtual size is absurd"),
                (table_bytes > _TABLE_MAX_BYTES, f"its block table has {table_bytes} bytes"),
                (table_at + table_bytes > self.size, "its block table is not within the file: is it truncated?"),
            )
        )


def virtual_size(read: Read, size: int, name: str, format: str) -> int:
    """The disk's size in bytes as the header says, or BadImage."""
    return _JUDGES[format](_Header(read, size, name))


def _vmdk(header: _Header) -> int:
    virtual, descriptor_at, descriptor_size, end = _vmdk_sparse(header, 0)
    if header.fields("<Q", 56)[0] == _FOOTER_HOLDS_TABLE:
        # A stream is written in order: its directory stands in the footer, a second header before the last sector.
        footer = header.size - 2 * _SECTOR
        header.refuse([(footer < _SECTOR or header.bytes(footer, 4) != b"KDMV", "it has no footer: is it truncated?")])
        second, _, _, end = _vmdk_sparse(header, footer)
        header.refuse([(second != virtual, "its header and its footer differ")])
    header.refuse(
        (
            (descriptor_at == 0 or descriptor_size == 0, "it has no embedded descriptor"),
            (descriptor_size > _DESCRIPTOR_MAX, "its embedded descriptor is too long"),
        )
    )
    _vmdk_descriptor(header, header.bytes(descriptor_at, descriptor_size))
    header.check_whole(end())
    return virtual


def _vmdk_sparse(header: _Header, at: int) -> tuple[int, int, int, Callable[[], int]]:
    """(virtual size, descriptor's offset, its length, where the data end), all in bytes, of a header or footer."""
    version, flags, capacity, grain, text_at, text_size, entries, _, directory = header.fields("<IIQQQQIQQ", at + 4)
    header.refuse(
        (
            (version not in (1, 2, 3), f"its VMDK version is {version}, not 1 to 3"),
            (grain < 8 or grain > 2048 or grain & (grain - 1), f"its grain size is {grain} sectors"),
            (not 1 <= entries <= 512, f"its grain tables have {entries} entries"),
        )
    )
    # Capacity 0 would make QEMU read the descriptor's list of files instead: check_disk refuses it.
    table = -(-capacity // (grain * entries)) * 4
    in_footer = directory == _FOOTER_HOLDS_TABLE and at == 0
    header.check_disk(capacity * _SECTOR, 0 if in_footer else directory * _SECTOR, 0 if in_footer else table)

    def end() -> int:
        places = directory * _SECTOR, table // 4
        packed = bool(flags & _VMDK_COMPRESSED)
        return tables.vmdk_end(header.table, places, entries, grain * _SECTOR, capacity * _SECTOR, packed)

    return capacity * _SECTOR, text_at * _SECTOR, text_size * _SECTOR, end


def _vmdk_descriptor(header: _Header, content: bytes) -> None:
    text = content.rstrip(b"\0").decode("latin-1")
    kinds = re.findall(r'^\s*createType\s*=\s*"?([^"\s]*)', text, re.MULTILINE | re.IGNORECASE)
    parents = re.findall(r"^\s*parentCID\s*=\s*(\S*)", text, re.MULTILINE | re.IGNORECASE)
    extents = re.findall(r"^\s*(?:RW|RDONLY|NOACCESS)\s+.*$", text, re.MULTILINE | re.IGNORECASE)
    header.refuse(
        (
            ("\0" in text, "its embedded descriptor is not text"),
            (
                kinds not in (["monolithicSparse"], ["streamOptimized"]),
                f"its VMDK type is {', '.join(kinds) or 'not said'}, not monolithicSparse or streamOptimized",
            ),
            ([p.lower() for p in parents] != ["ffffffff"], "it has a parent"),
            ("parentfilenamehint" in text.lower(), "it names a parent"),
            (len(extents) != 1, f"it has {len(extents)} extents, not one"),
            (
                not all(re.fullmatch(r'\s*(RW|RDONLY)\s+\d+\s+SPARSE\s+"[^"/]*"\s*', line) for line in extents),
                "its extent is not in this file",
            ),
        )
    )


def _vhd(header: _Header) -> int:
    _, version, dynamic = header.fields(">IIQ", 8)
    virtual, _, kind = header.fields(">QII", 48)
    header.refuse(
        (
            (kind == 4, "it is a differencing VHD: it has a parent"),
            (kind != _DYNAMIC_VHD, f"its VHD type is {kind}, not dynamic"),
            (version != _VHD_VERSION, f"its VHD version is {version:#x}"),
        )
    )
    mark = header.bytes(dynamic, 8)
    table, version, entries, block = header.fields(">QIII", dynamic + 16)
    header.refuse(
        (
            (mark != b"cxsparse", "it has no dynamic disk header"),
            (version != _VHD_VERSION, f"its dynamic disk header's version is {version:#x}"),
            (any(header.bytes(dynamic + 40, 16)), "it names a parent"),
            (block < _SECTOR or block > _BLOCK_MAX or block & (block - 1), f"its block size is {block}"),
            (entries * block < virtual, "its block table is too small for its virtual size"),
        )
    )
    header.check_disk(virtual, table, entries * 4)
    header.check_whole(tables.vhd_end(header.table, table, -(-virtual // block), block, virtual))
    return virtual


def _vhdx(header: _Header) -> int:
    heads = [at for at in (64 * KiB, 128 * KiB) if header.bytes(at, 4) == b"head"]
    header.refuse([(not heads, "it has no VHDX header")])
    current = max(heads, key=lambda at: header.fields("<Q", at + 8)[0])
    version = header.fields("<H", current + 66)[0]
    regions = header.bytes(192 * KiB, 4), header.fields("<I", 192 * KiB + 8)[0]
    header.refuse(
        (
            (version != 1, f"its VHDX version is {version}, not 1"),
            (any(header.bytes(current + 48, 16)), "it was not closed: its log has to be replayed"),
            (regions[0] != b"regi" or not 2 <= regions[1] <= 2047, "it has no region table"),
        )
    )
    places = range(192 * KiB + 16, 192 * KiB + 16 + 32 * regions[1], 32)
    metadata = [at for at in places if _is(header, at, _METADATA)]
    blocks = [at for at in places if _is(header, at, _BAT)]
    header.refuse([(len(metadata) != 1 or len(blocks) != 1, "it has no metadata or no block table, or twice")])
    virtual, block, sector = _vhdx_metadata(header, header.fields("<Q", metadata[0] + 16)[0])
    table, length = header.fields("<QI", blocks[0] + 16)
    # Behind each 2^23 sectors stands an entry for their bitmap.
    count = -(-virtual // block)
    count += (count - 1) // ((sector << 23) // block)
    header.refuse([(count * 8 > length, "its block table is too small for its virtual size")])
    header.check_disk(virtual, table, count * 8)
    header.check_whole(tables.vhdx_end(header.table, table, count, block))
    return virtual


def _vhdx_metadata(header: _Header, table: int) -> tuple[int, int, int]:
    """(virtual size, block size, sector size), all in bytes."""
    mark, count = header.bytes(table, 8), header.fields("<H", table + 10)[0]
    header.refuse([(mark != b"metadata" or count > 2047, "it has no metadata table")])
    entries = [(header.bytes(at, 16), at) for at in range(table + 32, table + 32 + 32 * count, 32)]
    kinds = [kind for kind, _ in entries]
    header.refuse(
        (
            (_PARENT_LOCATOR in kinds, "it names a parent"),
            (any(kinds.count(kind) != 1 for kind in _VHDX_NEEDED), "its metadata are incomplete"),
        )
    )
    places = {kind: table + header.fields("<I", at + 16)[0] for kind, at in entries}
    block, flags = header.fields("<II", places[_FILE_PARAMETERS])
    header.refuse(
        (
            (flags & _HAS_PARENT, "it has a parent"),
            (block < MiB or block > _BLOCK_MAX or block & (block - 1), f"its block size is {block}"),
        )
    )
    virtual, sector = header.fields("<Q", places[_DISK_SIZE])[0], header.fields("<I", places[_SECTOR_SIZE])[0]
    header.refuse([(sector not in (512, 4096), f"its sector size is {sector}")])
    header.check_disk(virtual, 0, -(-virtual // block) * 8)
    return virtual, block, sector


def _is(header: _Header, at: int, kind: bytes) -> bool:
    return header.bytes(at, 16) == kind


def _vdi(header: _Header) -> int:
    version, _, kind = header.fields("<III", 0x44)
    table, data = header.fields("<II", 0x154)
    virtual, block, _, blocks = header.fields("<QIII", 0x170)
    header.refuse(
        (
            (version != _VDI_VERSION, f"its VDI version is {version:#x}"),
            (kind not in (1, 2), f"its VDI type is {kind}, not dynamic or static"),
            (any(header.bytes(0x1A8, 32)), "it has a parent"),
            (block != MiB, f"its block size is {block}"),
            (blocks * block < virtual, "its block table is too small for its virtual size"),
        )
    )
    header.check_disk(virtual, table, blocks * 4)
    header.check_whole(tables.vdi_end(header.table, table, -(-virtual // block), data, block, virtual))
    return virtual


_JUDGES = {"vmdk": _vmdk, "vpc": _vhd, "vhdx": _vhdx, "vdi": _vdi}
FORMATS = tuple(_JUDGES)
