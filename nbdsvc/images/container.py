"""Finds the disk in an OVA: a tar whose first file is an OVF descriptor. Nothing is unpacked, and no name is followed.

Sources: DMTF DSP0243 (OVF 2.1, the order of files), POSIX.1 pax (the ustar header), GNU tar (sizes in base 256).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbdsvc import errors

Read = Callable[[int, int], bytes]
_BLOCK = 512
_MARK_AT, _MARK = 257, b"ustar"
# An appliance has a descriptor, a manifest, a certificate, and some disks and messages.
_MEMBERS_MAX = 1000
_FILES = (b"0", b"\0")
_EXTENSIONS = (b"x", b"g")
_EXTENSION_MAX = 64 * 1024
_GZIP = b"\x1f\x8b"
# What stands beside the disks; everything else could be one, whatever it is called.
_BESIDE = (".ovf", ".mf", ".cert", ".xml", ".txt", ".nvram", ".iso")


@dataclass(frozen=True)
class Member:
    """A file in the container. Offset and size in bytes."""

    name: str
    offset: int
    size: int


def is_ova(read: Read, size: int) -> bool:
    """Whether it is a tar that begins with an OVF descriptor; a raw disk may hold any other tar."""
    if size < 2 * _BLOCK:
        return False
    if read(_MARK_AT, len(_MARK)) != _MARK:
        return False
    try:
        first = next(_members(read, size, ""), None)
    except errors.BadImage:
        return False
    return first is not None and first.name.lower().endswith(".ovf")


def find_disk(read: Read, size: int, name: str) -> Member:
    """The one disk in an OVA, or BadImage."""
    disks = [member for member in _members(read, size, name) if not member.name.lower().endswith(_BESIDE)]
    if len(disks) != 1:
        found = ", ".join(repr(disk.name) for disk in disks[:5]) or "none"
        raise errors.BadImage(image=name, reason=f"it holds {len(disks)} disks, not one: {found}")
    if read(disks[0].offset, min(2, disks[0].size)) == _GZIP:
        raise errors.BadImage(image=name, reason=f"its disk {disks[0].name!r} is compressed with gzip: unpack it first")
    return disks[0]


def _members(read: Read, size: int, name: str) -> Iterator[Member]:
    at = 0
    for _ in range(_MEMBERS_MAX):
        head = read(at, _BLOCK) if at + _BLOCK <= size else b""
        if not head.strip(b"\0"):
            return
        length = _checked_size(head, name)
        at += _BLOCK
        if at + length > size:
            raise errors.BadImage(image=name, reason="a file in it is not whole: is it truncated?")
        if head[156:157] in _EXTENSIONS and b" size=" in read(at, min(length, _EXTENSION_MAX)):
            raise errors.BadImage(image=name, reason="it gives a file two sizes")
        if head[156:157] in _FILES:
            yield Member(_name(head), at, length)
        at += -(-length // _BLOCK) * _BLOCK
    raise errors.BadImage(image=name, reason=f"it holds more than {_MEMBERS_MAX} files")


def _checked_size(head: bytes, name: str) -> int:
    """The member's size, of a header whose sum is right."""
    try:
        expected = int(head[148:156].strip(b" \0") or b"-1", 8)
        field = head[124:136]
        # GNU: the first bit set, then a number in base 256, of which the last eight bytes are enough.
        length = struct.unpack(">Q", field[4:])[0] if field[0] & 0x80 else int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise errors.BadImage(image=name, reason="a header in it is damaged") from None
    if sum(head[:148]) + 8 * ord(" ") + sum(head[156:]) != expected or length < 0:
        raise errors.BadImage(image=name, reason="a header in it is damaged")
    return int(length)


def _name(head: bytes) -> str:
    return head[:100].split(b"\0")[0].decode("utf-8", "replace")
