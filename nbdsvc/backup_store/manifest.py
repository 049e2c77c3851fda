"""A manifest: what one backup consists of. It is whole in itself: no other backup has to be read to restore it.

    the description, framed as sealed.py says (JSON; sealed where the store is)
    the map: a bit for each chunk of the volume, the lowest bit first; set where the chunk is stored, clear for zeros
    the ids of the chunks that are stored, 32 bytes each, in the order of the volume
    the tail: bytes of the description's frame (64 bits), number of chunks (64 bits), SHA-256 of everything before

Map and ids are in the clear, so that what no backup needs can be found without any key: ids are digests under a key, and
tell only where zeros are and which chunks are equal. A sealed description has their digest, so that they cannot be
exchanged.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.backup_store import sealed
from nbdsvc.backup_store.keys import ID_BYTES, SpaceKeys

# Bytes of a chunk: as large as the unit of the data path (datapath/digests.py), so that a thread of a restore reads each
# chunk once. Smaller ones store less after scattered writes, and cost a file, two syncs and 32 bytes here each: at 4 MiB
# a manifest of 1 TiB has 8 MiB.
CHUNK = 4 << 20
VERSION = 1
_TAIL = struct.Struct("<QQ32s")
# Of a description: names, metadata and ids; far more than the API lets in.
_MOST_DESCRIPTION = 4 << 20
# Of an object that is a manifest, which is read into memory: the ids of a volume of 100 TiB that is full, and more.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Manifest:
    """What a backup consists of. size: bytes of the volume; chunks: the id of each chunk, None for zeros."""

    backup_id: str
    size: int
    chunks: tuple[bytes | None, ...]
    description: dict[str, Any] = field(default_factory=dict)
    """What the backup's row says, for an installation that has no row of it."""

    def ids(self) -> frozenset[bytes]:
        """Every chunk that is needed."""
        return frozenset(id for id in self.chunks if id is not None)

    def stored(self) -> list[tuple[int, int]]:
        """(begin, end) in bytes of what is not zeros, merged, in order."""
        found: list[tuple[int, int]] = []
        for index, id in enumerate(self.chunks):
            if id is None:
                continue
            begin, end = index * CHUNK, min((index + 1) * CHUNK, self.size)
            if found and found[-1][1] == begin:
                begin = found.pop()[0]
            found.append((begin, end))
        return found

    def length_of(self, index: int) -> int:
        """Bytes of a chunk: the last one may be shorter."""
        return min(CHUNK, self.size - index * CHUNK)

    def encode(self, keys: SpaceKeys) -> bytes:
        """The object in the store."""
        table = _table(self.chunks)
        described = {
            "version": VERSION,
            "backup": self.backup_id,
            "size": self.size,
            "chunk": CHUNK,
            "table": hashlib.sha256(table).hexdigest(),
            "description": self.description,
        }
        text = json.dumps(described, sort_keys=True).encode()
        frame = sealed.encode(sealed.MANIFEST_MAGIC, keys, self.backup_id.encode(), text, compress=True)
        body = frame + table
        return body + _TAIL.pack(len(frame), len(self.chunks), hashlib.sha256(body).digest())


def decode(stored: bytes, keys: SpaceKeys, backup_id: str) -> Manifest:
    """The manifest of this backup. ValueError says what is wrong with it."""
    frame, chunks, table = _parts(stored)
    text = sealed.decode(sealed.MANIFEST_MAGIC, keys, backup_id.encode(), frame, _MOST_DESCRIPTION)
    try:
        found = json.loads(text)
        version, size, chunk = int(found["version"]), int(found["size"]), int(found["chunk"])
        digest, id, description = str(found["table"]), str(found["backup"]), dict(found["description"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise ValueError("its description is none") from None
    if (version, chunk) != (VERSION, CHUNK):
        raise ValueError(
            f"it has version {version} with chunks of {chunk} bytes, and this installation knows {VERSION}"
        )
    if id != backup_id:
        raise ValueError(f"it is the manifest of backup {id}")
    if digest != hashlib.sha256(table).hexdigest() or size < 0 or len(chunks) != -(-size // CHUNK):
        raise ValueError("its chunks are not those of its description")
    return Manifest(backup_id, size, tuple(chunks), description)


def most_bytes(size: int) -> int:
    """The most bytes that the manifest of a volume of `size` bytes may have."""
    count = -(-size // CHUNK)
    return 2 * _MOST_DESCRIPTION + count // 8 + 1 + count * ID_BYTES + _TAIL.size


def ids_of(stored: bytes) -> frozenset[bytes]:
    """Every chunk that a manifest needs, without a key. ValueError where it is damaged."""
    return frozenset(id for id in _parts(stored)[1] if id is not None)


def _table(chunks: tuple[bytes | None, ...]) -> bytes:
    bits = bytearray(-(-len(chunks) // 8))
    for index, id in enumerate(chunks):
        if id is not None:
            bits[index // 8] |= 1 << index % 8
    return bytes(bits) + b"".join(id for id in chunks if id is not None)


def _parts(stored: bytes) -> tuple[bytes, list[bytes | None], bytes]:
    """The description's frame, the chunks, and the table of these."""
    body = stored[: -_TAIL.size]
    if len(stored) < _TAIL.size:
        raise ValueError("it is not whole")
    length, count, digest = _TAIL.unpack_from(stored, len(body))
    if digest != hashlib.sha256(body).digest():
        raise ValueError("its digest is wrong")
    table = body[length:]
    bits, ids = table[: -(-count // 8)], table[-(-count // 8) :]
    wanted = sum(each.bit_count() for each in bits)
    if length > len(body) or len(bits) != -(-count // 8) or len(ids) != wanted * ID_BYTES:
        raise ValueError("its table is not whole")
    each_id = iter(ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES))
    chunks = [next(each_id) if bits[index // 8] >> index % 8 & 1 else None for index in range(count)]
    return body[:length], chunks, table
