"""Sources of copies: raw bytes or a qcow2 image, in a file, a device, or behind a Python function."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc._native import ffi, lib
from nbdsvc.datapath import native
from nbdsvc.datapath.opening import target_of
from nbdsvc.location import Location

# One connection for each thread of a copy on a small host; the core opens only one to a server that does not promise
# consistency between connections (NBD_FLAG_CAN_MULTI_CONN).
NBD_CONNECTIONS = 4
# Threads that read by one Python function: more threads would wait for the GIL, and each needs its own read-ahead.
CALLBACK_THREADS = 8


class Source:
    """The bytes that a guest sees. Use it as a context manager; `size` is the virtual size in bytes.

    `sequential`: the source can only be read in ascending order, so by one thread. `most_threads`: more threads do not
    read faster. `on_close`: called when the source is closed.
    """

    def __init__(
        self, pointer: Any, name: str, callback: native.Callback | None = None, sequential: bool = False
    ) -> None:
        self._pointer = pointer
        self.name = name
        self.callback = callback
        self.sequential = sequential
        self.most_threads = 1 if sequential else CALLBACK_THREADS if callback else None
        self.size = int(pointer.size)
        self.on_close: Callable[[], None] = lambda: None

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Source {self.name} {self.size} bytes{'' if self._pointer else ' closed'}>"

    @property
    def pointer(self) -> Any:
        """The source of the C core; InternalError once it is closed."""
        if self._pointer is None:
            raise errors.InternalError(reason=f"source {self.name} is closed")
        return self._pointer

    def close(self) -> None:
        """Free the source of the C core and what belongs to it. May be called again."""
        if self._pointer is not None:
            lib.nbdsvc_source_destroy(self._pointer)
            self._pointer = None
            if self.callback:
                self.callback.close()
            self.on_close()

    def cause(self, error: errors.Error) -> errors.Error:
        """The error to raise for a failed read; subclasses return the cause where Python knows more than the core."""
        return error

    def abort(self) -> None:
        """End reads that wait for a server; later reads fail. May be called on any thread, before `close`."""
        if self._pointer is not None:
            lib.nbdsvc_source_interrupt(self._pointer)
        if self.callback:
            self.callback.abort()

    def cut(self, size: int) -> None:
        """Reduce the source to `size` bytes, for reading only the first part of a device or export. Raw bytes only."""
        if size < self.size:
            self.size = self.pointer.size = size

    def extents(self) -> Iterator[tuple[int, int, bool]]:
        """(offset, length, whether the bytes are zeros that take no space) of each extent, in bytes, merged, in order.

        Raises ReadFailed or BadImage.
        """
        found, offset = ffi.new("struct nbdsvc_extent *"), 0
        start, length, zero = 0, 0, False
        while offset < self.size:
            result = lib.nbdsvc_source_extent(self.pointer, offset, found)
            if result < 0:
                raise native.error_of(result, native.READ, offset, os.strerror(-result), self.name, "")
            if length and bool(found.kind) != zero:
                yield start, length, zero
                start, length = offset, 0
            zero = bool(found.kind)
            length += found.length
            offset += found.length
        if length:
            yield start, length, zero

    def read(self, offset: int, length: int) -> bytes:
        """Read some bytes, outside of a copy. Raises ReadFailed or BadImage."""
        buffer = bytearray(length)
        self.read_into(buffer, offset)
        return bytes(buffer)

    def read_into(self, buffer: bytearray | memoryview, offset: int) -> None:
        """Fill the buffer, outside of a copy and without the GIL. Raises ReadFailed or BadImage."""
        result = lib.nbdsvc_source_read(self.pointer, ffi.from_buffer(buffer), len(buffer), offset)
        if result < 0:
            raise self.cause(native.error_of(result, native.READ, offset, os.strerror(-result), self.name, ""))


def open(location: Location, *, from_storage: bool = False) -> Source:
    """A source over the raw bytes of a location. Raises ReadFailed; Unsupported for a scheme that is not opened here.

    from_storage: as for `open_path`; an export needs nothing, because this host's page cache has no page of it.
    """
    target = target_of(location)
    return open_path(target, from_storage=from_storage) if isinstance(target, Path) else open_nbd(target)


def open_fd(fd: int, format: str, name: str, snapshot: str | None = None) -> Source:
    """A source over an open file or device, which the caller closes. `snapshot`: an internal snapshot of a qcow2."""
    return Source(native.source_of(native.input_of_fd(fd, name), format, name, snapshot), name)


def open_path(path: Path, format: str = "raw", snapshot: str | None = None, *, from_storage: bool = False) -> Source:
    """A source over a file or block device. `from_storage`: drop its pages from the page cache first. ReadFailed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.ReadFailed(source=path.name, offset=0, reason=error.strerror or str(error)) from error
    try:
        if from_storage:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return open_fd(fd, format, path.name, snapshot)
    finally:
        os.close(fd)


def open_nbd(uri: str, connections: int = NBD_CONNECTIONS) -> Source:
    """An NBD export as a source. The URI may name a file of a pre-shared key (nbds://...?tls-psk-file=). ReadFailed."""
    made, message = ffi.new("struct nbdsvc_source **"), ffi.new("struct nbdsvc_message *")
    address = os.fsencode(uri)
    result = native.patiently(lambda: lib.nbdsvc_source_nbd_create(address, connections, message, made))
    name = native.shown_uri(uri)
    if result < 0:
        raise errors.ReadFailed(source=name, offset=0, reason=native.reason_of(message, result))
    return Source(made[0], name)


def open_callback(
    pread: native.PreadCallback,
    size: int,
    format: str,
    name: str,
    sequential: bool = False,
    abort: Callable[[], None] | None = None,
) -> Source:
    """A source over a function (offset, length) -> bytes, which several threads call unless `sequential`.

    `abort`: a function that ends calls under way; None where there is none. Raises BadImage, ReadFailed, and the first
    exception of `pread`.
    """
    callback = native.Callback(pread, abort, 1 if sequential else CALLBACK_THREADS)
    try:
        pointer = native.source_of(native.input_of_callback(callback, size), format, name)
    except errors.ReadFailed as error:  # the C core only knows that the function failed
        raise callback.error or error from None
    return Source(pointer, name, callback, sequential)


def open_parts(pread: native.PreadCallback, size: int, stored: Sequence[tuple[int, int]], name: str) -> Source:
    """A raw source over a function (offset, length) -> bytes, which several threads call for what is stored only.

    stored: (begin, end) of what is not zeros, in bytes and ascending order.
    """
    callback = native.Callback(pread, None, CALLBACK_THREADS)
    return Source(native.parts_of(native.input_of_callback(callback, size), stored, name), name, callback)
