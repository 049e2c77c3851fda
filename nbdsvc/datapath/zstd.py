"""Zstd: frames that arrive in pieces, with the methods of the standard library's decompressors, and whole ones in memory."""

import errno
from typing import Any

from nbdsvc._native import ffi, lib

# Window of 2^27 bytes (128 MiB), the largest that `zstd -d` accepts without --long or --memory.
_WINDOW_LOG = 27


class Decompressor:
    """Call `decompress` until `eof`; `unused_data` then has the bytes behind the frame."""

    def __init__(self) -> None:
        made = ffi.new("struct nbdsvc_unpack **")
        if lib.nbdsvc_unpack_create(_WINDOW_LOG, made) < 0:
            raise MemoryError
        self._pointer: Any = ffi.gc(made[0], lib.nbdsvc_unpack_destroy)
        self._left = b""
        self.eof = False
        self.unused_data = b""
        self.needs_input = True

    def decompress(self, content: bytes, most: int) -> bytes:
        """At most `max_length` bytes of the content. Raises ValueError for a damaged frame."""
        content = self._left + content
        room, counts = ffi.new("char[]", most), ffi.new("size_t[2]")
        from_ = ffi.from_buffer(content)
        result = lib.nbdsvc_unpack_run(self._pointer, from_, len(content), room, most, counts, counts + 1)
        if result == -errno.EFBIG:
            raise ValueError(f"it needs more than {1 << _WINDOW_LOG >> 20} MiB of memory")
        if result < 0:
            raise ValueError("its data are corrupt")
        self._left = content[counts[0] :]
        self.needs_input = not self._left and counts[1] < most
        if result == 1:
            self.eof, self.unused_data = True, self._left
        return bytes(ffi.buffer(room, counts[1]))


def pack(content: bytes | bytearray | memoryview, level: int) -> bytes | None:
    """One frame, made without the GIL; None where it would not be smaller than the content."""
    room, length = ffi.new("char[]", len(content)), ffi.new("size_t *")
    result = lib.nbdsvc_frame_pack(ffi.from_buffer(content), len(content), room, len(content), level, length)
    if result == -errno.ENOMEM:
        raise MemoryError
    return None if result < 0 else bytes(ffi.buffer(room, length[0]))


def unpack(frame: bytes | memoryview, size: int) -> bytearray:
    """The `size` bytes of exactly one frame. Raises ValueError for a damaged frame, and for one of another size."""
    made = bytearray(size)
    if lib.nbdsvc_frame_unpack(ffi.from_buffer(frame), len(frame), ffi.from_buffer(made), size) < 0:
        raise ValueError("its data are corrupt")
    return made
