"""The files in a tar, by headers alone: ustar, pax and GNU, sizes of any length. Nothing is unpacked, no name is followed.

Sources: POSIX.1 pax (ustar and extended headers), GNU tar's manual (long names, sizes in base 256, sparse members).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbdsvc import errors

Read = Callable[[int, int], bytes]
_BLOCK = 512
# An appliance has a descriptor, a manifest, a certificate, and some disks and messages.
_MEMBERS_MAX = 1000
_FILES = (b"0", b"\0", b"7")
_SPARSE, _LONG_NAME, _PAX, _PAX_GLOBAL = b"S", b"L", b"x", b"g"
# Of a long name or of pax records, bytes: a path has at most 4096, and the rest of what tools write is shorter.
_EXTENSION_MAX = 64 * 1024
# GNU: whether another block of the map of holes follows, in the header and in such a block.
_MORE_IN_HEADER, _MORE_IN_BLOCK = 482, 504


@dataclass(frozen=True)
class Member:
    """A file in the container. Offset and size in bytes; is_sparse: its bytes stand there without its holes."""

    name: str
    offset: int
    size: int
    is_sparse: bool = False


def is_tar(read: Read, size: int) -> bool:
    """Whether the bytes begin with a header that has the ustar mark."""
    return size >= 2 * _BLOCK and read(257, 5) == b"ustar"


def members(read: Read, size: int, name: str) -> Iterator[Member]:
    """The regular files, in their order; BadImage for what is damaged, cut off or without end. name: of the container."""
    at, extended, common = 0, dict[str, str](), dict[str, str]()
    for _ in range(_MEMBERS_MAX):
        head = read(at, _BLOCK) if at + _BLOCK <= size else b""
        if not head.strip(b"\0"):
            return
        kind, length, at = head[156:157], _checked_size(head, name), at + _BLOCK
        if kind == _SPARSE:
            at = _behind_map(read, size, head, at, name)
        facts = {**common, **extended}
        if kind not in (_PAX, _PAX_GLOBAL, _LONG_NAME) and "size" in facts:
            length = _number(facts["size"], name)
        if at + length > size:
            raise errors.BadImage(image=name, reason="a file in it is not whole: is it truncated?")
        if kind == _PAX_GLOBAL:
            common |= _records(_extension(read, at, length, name), name)
        elif kind == _PAX:
            extended |= _records(_extension(read, at, length, name), name)
        elif kind == _LONG_NAME:
            extended["path"] = _extension(read, at, length, name).split(b"\0")[0].decode("utf-8", "replace")
        else:
            is_sparse = kind == _SPARSE or any(key.startswith("GNU.sparse.") for key in facts)
            if kind in _FILES or is_sparse:
                name = facts.get("GNU.sparse.name") or facts.get("path") or _name(head)
                yield Member(name.removeprefix("./"), at, length, is_sparse)
            extended = {}
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
        raise _damaged(name) from None
    if sum(head[:148]) + 8 * ord(" ") + sum(head[156:]) != expected or length < 0:
        raise _damaged(name)
    return int(length)


def _behind_map(read: Read, size: int, head: bytes, at: int, name: str) -> int:
    """The offset of a sparse member's data: behind the rest of its map of holes."""
    more = head[_MORE_IN_HEADER]
    for _ in range(_EXTENSION_MAX // _BLOCK):
        if not more:
            return at
        if at + _BLOCK > size:
            break
        more, at = read(at + _MORE_IN_BLOCK, 1)[0], at + _BLOCK
    raise _damaged(name)


def _extension(read: Read, at: int, length: int, name: str) -> bytes:
    if length > _EXTENSION_MAX:
        raise errors.BadImage(image=name, reason=f"an extended header in it has {length} bytes")
    return read(at, length)


def _records(content: bytes, name: str) -> dict[str, str]:
    r"""The records of a pax header: "LENGTH KEY=VALUE\n", where the length counts itself."""
    found = {}
    while content.strip(b"\0"):
        digits, _, rest = content.partition(b" ")
        length = _number(digits[:8].decode("latin-1"), name)
        record = rest[: length - len(digits) - 1]
        key, separator, value = record.partition(b"=")
        if not separator or not record.endswith(b"\n") or length > len(content):
            raise _damaged(name)
        found[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "replace")
        content = content[length:]
    return found


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise _damaged(name)
    return int(text)


def _name(head: bytes) -> str:
    prefix = head[345:500].split(b"\0")[0] if head[257:263] == b"ustar\0" else b""
    path = b"/".join(part for part in (prefix, head[:100].split(b"\0")[0]) if part)
    return path.decode("utf-8", "replace")


def _damaged(name: str) -> errors.BadImage:
    return errors.BadImage(image=name, reason="a header in it is damaged")
