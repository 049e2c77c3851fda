"""Reads through gzip, bzip2, xz and zstd as a stream: member after member, in bounded memory.

What is cut off, damaged, or followed by something else is a BadImage error; zeros behind the last member of gzip and xz
are padding (RFC 1952 leaves it open, as tapes need it; the xz file format has it in units of four bytes).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from nbdsvc import errors
from nbdsvc.units import KiB, MiB

Next = Callable[[int], bytes]
"""The next bytes, at most so many; none at the end."""
_PIECE = 256 * KiB
# xz -9 needs 65 MiB; a dictionary of more than three times that is no program's default.
_XZ_MEMORY = 200 * MiB
_PADDED = ("gzip", "xz")


class _Member(Protocol):
    """A gzip member, bzip2 or xz stream, or zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, content: bytes, most: int, /) -> bytes: ...


class _Gzip:
    """zlib's object with the methods of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.needs_input = True

    def decompress(self, content: bytes, most: int) -> bytes:
        made = self._inner.decompress(self._inner.unconsumed_tail + content, most)
        self.needs_input = not self._inner.unconsumed_tail and len(made) < most
        return made

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _zstd() -> _Member:
    from nbdsvc.datapath.zstd import Decompressor

    return Decompressor()


_MEMBERS: dict[str, Callable[[], _Member]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY),
    "zstd": _zstd,
}
_MARKS = {"gzip": (b"\x1f\x8b",), "bzip2": (b"BZh",), "xz": (b"\xfd7zXZ\0",), "zstd": (b"\x28\xb5\x2f\xfd",)}
_SKIPPABLE = tuple(bytes([0x50 + low]) + b"\x2a\x4d\x18" for low in range(16))


class Unpacker:
    """The unpacked bytes of a compressed file of this kind, in their order."""

    def __init__(self, kind: str, packed: Next, name: str) -> None:
        self._kind, self._packed, self._name = kind, packed, name
        self._member: _Member | None = _MEMBERS[kind]()
        self._rest = b""

    def read(self, length: int) -> bytes:
        """At most so many bytes; empty at the end. BadImage for data that are damaged, cut off or followed by garbage."""
        while self._member or self._begin():
            assert self._member
            made = self._step(self._member, length)
            if self._member.eof:
                self._rest, self._member = self._member.unused_data, None
            if made:
                return made
        return b""

    def _step(self, member: _Member, length: int) -> bytes:
        content = b""
        if member.needs_input:
            content, self._rest = self._rest or self._packed(_PIECE), b""
            if not content:
                raise self._bad("is truncated")
        try:
            return member.decompress(content, length)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise self._bad(f"is damaged: {error}") from error

    def _begin(self) -> bool:
        """Whether another member follows."""
        padding = 0
        while not self._rest.strip(b"\0"):
            if self._rest and self._kind not in _PADDED:
                break
            padding += len(self._rest)
            self._rest = self._packed(_PIECE)
            if not self._rest:
                return self._end(padding)
        found = self._rest.lstrip(b"\0") if self._kind in _PADDED else self._rest
        while len(found) < len(_MARKS[self._kind][0]) and (more := self._packed(_PIECE)):
            found += more
        if not found.startswith(_MARKS[self._kind] + (_SKIPPABLE if self._kind == "zstd" else ())):
            raise self._bad("is followed by something else")
        self._rest, self._member = found, _MEMBERS[self._kind]()
        return True

    def _end(self, padding: int) -> bool:
        if self._kind == "xz" and padding % 4:
            raise self._bad("is followed by something else")
        return False

    def _bad(self, reason: str) -> errors.BadImage:
        return errors.BadImage(image=self._name, reason=f"its {self._kind} stream {reason}")
