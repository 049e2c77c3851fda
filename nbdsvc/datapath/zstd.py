"""Unpacks a zstd frame in pieces, with the methods of the standard library's decompressors."""

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
