"""The frame of what is stored: a head, and a payload that may be compressed and sealed.

    bytes   little endian
    0-7     nbdsvcB1 (a chunk) or nbdsvcM1 (a manifest)
    8       flags: 1 compressed by zstd, 2 sealed by AES-256-GCM
    9-11    zero
    12-15   bytes of the content
    16-23   bytes of the payload, which ends the object
    24-31   the mark of the key; zeros where it is not sealed

A payload that is sealed begins with its nonce of 12 bytes, ends with its tag of 16, and is bound to the head and to the
object's name: it cannot be given another.
"""

import struct

from nbdsvc.backup_store.keys import CLEAR, OVERHEAD, SpaceKeys
from nbdsvc.datapath import zstd

CHUNK_MAGIC, MANIFEST_MAGIC = b"nbdsvcB1", b"nbdsvcM1"
_HEAD = struct.Struct("<8sB3sIQ8s")
HEAD_BYTES = _HEAD.size
_COMPRESSED, _SEALED = 1, 2
# Of zstd: 1 packs three times as fast as 3 and some percent larger, and a backup has to keep up with a disk.
LEVEL = 1


def encode(
    magic: bytes, keys: SpaceKeys, name: bytes, content: bytes | bytearray | memoryview, *, compress: bool
) -> bytes:
    """The object of some content. What does not become smaller is not compressed."""
    packed = zstd.pack(content, LEVEL) if compress else None
    payload = bytes(content) if packed is None else packed
    flags = (0 if packed is None else _COMPRESSED) | (_SEALED if keys.seals else 0)
    length = len(payload) + (OVERHEAD if keys.seals else 0)
    head = _HEAD.pack(magic, flags, bytes(3), len(content), length, keys.mark)
    return head + (keys.seal(payload, head + name) if keys.seals else payload)


def decode(magic: bytes, keys: SpaceKeys, name: bytes, stored: bytes, most: int) -> bytes | bytearray:
    """The content, at most `most` bytes. ValueError says what is wrong with the object."""
    if reason := fault(magic, keys, stored[:HEAD_BYTES], len(stored)):
        raise ValueError(reason)
    _, flags, _, size, _, _ = _HEAD.unpack_from(stored)
    if size > most:
        raise ValueError(f"it says that it has {size} bytes, and may have {most}")
    payload = stored[HEAD_BYTES:]
    if flags & _SEALED:
        payload = keys.unseal(payload, stored[:HEAD_BYTES] + name)
    if flags & _COMPRESSED:
        return zstd.unpack(payload, size)
    if len(payload) != size:
        raise ValueError(f"it has {len(payload)} bytes instead of {size}")
    return payload


def fault(magic: bytes, keys: SpaceKeys, head: bytes, size: int) -> str:
    """What the head of an object of `size` bytes shows to be wrong with it; empty where it shows nothing."""
    if len(head) < HEAD_BYTES:
        return f"it ends after {size} bytes"
    found, flags, zero, _, length, mark = _HEAD.unpack(head)
    if found != magic or flags & ~(_COMPRESSED | _SEALED) or any(zero):
        return "it is damaged, or of a newer version"
    if size != HEAD_BYTES + length:
        return f"it has {size} bytes instead of {HEAD_BYTES + length}"
    if mark == keys.mark and bool(flags & _SEALED) == keys.seals:
        return ""
    if mark == CLEAR:
        return "it is not sealed, although its backup is"
    return "it is sealed by another key" if keys.seals else "it is sealed, although its backup is not"
