"""Digests of a volume's content: a leaf for each chunk, a root over all of them, kept in a file of its own.

A range is verified by the leaves of its chunks, and the leaves by the root. The file: 8 bytes `nbdsvcD1`, then little
endian the size (64 bits) and the chunk's size (32 bits), then the root and the leaves. Leaves are XXH3-128 in its
canonical byte order (against faults, not against attacks), the root is SHA-256 of everything else in the file.
"""

import struct
from pathlib import Path

from nbdsvc import atomic_file, errors

# The unit of digests and journals, in bytes (NBDSVC_CHUNK in native/sink/sink.h).
CHUNK = 4 << 20
DIGEST_SIZE = 16
_MAGIC, _HEAD, _ROOT_SIZE = b"nbdsvcD1", struct.Struct("<8sQI"), 32


class Digests:
    """The XXH3-128 of each chunk of 4 MiB of what was copied, in order. size: bytes of the content."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = bytearray(-(-size // CHUNK) * DIGEST_SIZE)

    def __len__(self) -> int:
        return len(self.content) // DIGEST_SIZE

    def __getitem__(self, index: int) -> str:
        return self.content[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE].hex()

    def compare(self, found: "Digests", name: str) -> None:
        """Raise ChecksumMismatch for the first chunk of `name` that differs in `found`, which may have more chunks."""
        if self.content == found.content:
            return
        for index in range(len(self)):
            if self[index] != found[index]:
                where = f"{name} at byte {index * CHUNK}"
                raise errors.ChecksumMismatch(source=where, expected=self[index], actual=found[index])

    def root(self) -> bytes:
        """A digest of the size and of all digests."""
        import hashlib  # imported here, because hashlib loads OpenSSL, which copies without digests do not need

        return hashlib.sha256(self._head() + self.content).digest()

    def _head(self) -> bytes:
        return _HEAD.pack(_MAGIC, self.size, CHUNK)

    def save(self, path: Path) -> None:
        """Write the digests to a file, completely or not at all. Raises OSError."""
        atomic_file.write(path, self._head() + self.root() + self.content)

    @classmethod
    def load(cls, path: Path) -> "Digests":
        """The digests that `save` wrote. Raises FileNotFoundError; ChecksumMismatch or BadImage for a damaged file."""
        stored = path.read_bytes()
        magic, size, chunk = _HEAD.unpack_from(stored.ljust(_HEAD.size, b"\0"))
        expected = _HEAD.size + _ROOT_SIZE + -(-size // CHUNK) * DIGEST_SIZE
        if (magic, chunk, expected) != (_MAGIC, CHUNK, len(stored)):
            raise errors.BadImage(image=path.name, reason="its digests are not whole")
        made, root = cls(size), stored[_HEAD.size : _HEAD.size + _ROOT_SIZE]
        made.content[:] = stored[_HEAD.size + _ROOT_SIZE :]
        if made.root() != root:
            actual = made.root().hex()
            raise errors.ChecksumMismatch(source=f"the digests of {path.name}", expected=root.hex(), actual=actual)
        return made
