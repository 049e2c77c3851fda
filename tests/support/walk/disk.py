"""What a volume or snapshot must read as: blocks of 4 KiB by their number; what is not there is zeros."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

BLOCK = 4096
GiB = 1 << 30
_ZEROS = bytes(BLOCK)


def content(value: int, offset: int, length: int) -> bytes:
    """Bytes that tell when they were written (value) and where: no two writes and no two blocks have the same; none is 0."""
    first, last = offset // BLOCK, (offset + length - 1) // BLOCK
    whole = b"".join(_unit(value, number) * (BLOCK // 16) for number in range(first, last + 1))
    return whole[offset - first * BLOCK :][:length]


def _unit(value: int, number: int) -> bytes:
    digest = hashlib.blake2b(f"{value} {number}".encode(), digest_size=16).digest()
    return bytes(byte | 1 for byte in digest)


@dataclass
class Disk:
    """size: GiB. most: GiB of its device at most: an extension that failed may have made it longer, which stays."""

    size: int
    blocks: dict[int, bytes] = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        self.most = max(self.most, self.size)

    @property
    def bytes(self) -> int:
        return self.size * GiB

    def write(self, offset: int, data: bytes) -> None:
        for number, begin, piece in _pieces(offset, data):
            old = self.blocks.get(number, _ZEROS)
            self._set(number, old[:begin] + piece + old[begin + len(piece) :])

    def zero(self, offset: int, length: int) -> None:
        self.write(offset, bytes(length))

    def _set(self, number: int, block: bytes) -> None:
        if block == _ZEROS:
            self.blocks.pop(number, None)
        else:
            self.blocks[number] = block

    def read(self, offset: int, length: int) -> bytes:
        first, end = offset // BLOCK, -(-(offset + length) // BLOCK)
        whole = b"".join(self.blocks.get(number, _ZEROS) for number in range(first, end))
        return whole[offset - first * BLOCK :][:length]

    def copy(self, size: int | None = None) -> "Disk":
        """What a snapshot of now or a clone must read as; of a device that is longer than its row says, a copy may be too."""
        return Disk(size or self.size, dict(self.blocks), self.most)

    def grow(self, size: int) -> None:
        self.size, self.most = size, max(size, self.most)

    def same_as(self, other: "Disk") -> bool:
        return self.blocks == other.blocks

    def wrong(self, offset: int, found: bytes) -> str | None:
        """The first difference of what was read at `offset`; None where there is none."""
        expected = self.read(offset, len(found))
        if found == expected:
            return None
        at = next(place for place in range(len(found)) if found[place] != expected[place])
        return f"byte {offset + at} begins {found[at : at + 16].hex()} and not {expected[at : at + 16].hex()}"


def _pieces(offset: int, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(number of the block, first byte in it, bytes) of each block that is written to."""
    done = 0
    while done < len(data):
        number, begin = divmod(offset + done, BLOCK)
        piece = data[done : done + BLOCK - begin]
        yield number, begin, piece
        done += len(piece)
