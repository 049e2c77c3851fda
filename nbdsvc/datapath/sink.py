"""Sinks of copies: a file or block device as it is, a new qcow2 image, a stream, or nothing at all."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc._native import ffi, lib
from nbdsvc.datapath import native
from nbdsvc.datapath.opening import target_of
from nbdsvc.datapath.source import NBD_CONNECTIONS
from nbdsvc.location import Location

# Compressions of a qcow2 image, and the core's numbers for them.
COMPRESSIONS = {"none": 0, "zlib": 1, "zstd": 2}
_IS_ZERO = 1
_SECTOR = 512


class Sink:
    """A destination. Use it as a context manager; `size` is the room for guest bytes, None where the sink does not say.

    `resumable`: a killed copy to it can go on where it stopped.
    """

    def __init__(self, pointer: Any, name: str, size: int | None = None, resumable: bool = True) -> None:
        self._pointer = pointer
        self.name = name
        self.size = size
        self.resumable = resumable

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Sink {self.name}{'' if self._pointer else ' closed'}>"

    @property
    def pointer(self) -> Any:
        """The sink of the C core; InternalError once it is closed."""
        if self._pointer is None:
            raise errors.InternalError(reason=f"sink {self.name} is closed")
        return self._pointer

    def close(self) -> None:
        """Free the sink of the C core. May be called again."""
        if self._pointer is not None:
            lib.nbdsvc_sink_destroy(self._pointer)
            self._pointer = None


def open(location: Location, *, is_zero: bool = False) -> Sink:
    """A sink over a location that exists; `is_zero`: it reads as zeros now.

    Unsupported for a scheme that the data path does not open; WriteFailed.
    """
    target = target_of(location)
    return open_path(target, is_zero=is_zero) if isinstance(target, Path) else open_nbd(target, is_zero=is_zero)


def open_path(path: Path, *, is_zero: bool = False) -> Sink:
    """A file or block device that exists. `is_zero`: it reads as zeros now, so zeros need not be written."""
    with ExitStack() as stack:
        fd, made = _open(stack, path, os.O_RDWR), ffi.new("struct nbdsvc_sink **")
        _check(lib.nbdsvc_sink_file_create(fd, _open_direct(stack, path), _IS_ZERO if is_zero else 0, made), path.name)
        return Sink(made[0], path.name)


def create_qcow2(path: Path, size: int, compression: str = "none") -> Sink:
    """A new qcow2 image for `size` guest bytes (rounded up to 512) in an empty file of ours.

    Until the copy has succeeded, the file is no image. An interrupted copy starts again.
    """
    size = -(-size // _SECTOR) * _SECTOR
    with ExitStack() as stack:
        fd = _open(stack, path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        made = ffi.new("struct nbdsvc_sink **")
        number = COMPRESSIONS[compression]
        _check(lib.nbdsvc_sink_qcow2_create(fd, _open_direct(stack, path), size, number, made), path.name)
        return Sink(made[0], path.name, size, resumable=False)


def open_nbd(uri: str, *, is_zero: bool = False, connections: int = NBD_CONNECTIONS) -> Sink:
    """An export that may be written; `is_zero`: it reads as zeros now."""
    made, message = ffi.new("struct nbdsvc_sink **"), ffi.new("struct nbdsvc_message *")
    size, flags = ffi.new("uint64_t *"), _IS_ZERO if is_zero else 0
    address = os.fsencode(uri)
    result = native.patiently(lambda: lib.nbdsvc_sink_nbd_create(address, connections, flags, message, size, made))
    name = native.shown_uri(uri)
    if result < 0:
        raise errors.WriteFailed(destination=name, offset=0, reason=native.reason_of(message, result))
    return Sink(made[0], name, int(size[0]))


def open_stream(fd: int, name: str) -> Sink:
    """A pipe, socket or file that takes bytes in their order; the descriptor and its flags stay the caller's."""
    made = ffi.new("struct nbdsvc_sink **")
    _check(lib.nbdsvc_sink_stream_create(fd, made), name)
    return Sink(made[0], name, resumable=False)


def nowhere() -> Sink:
    """Keeps nothing: a copy to it is a read of everything."""
    made = ffi.new("struct nbdsvc_sink **")
    _check(lib.nbdsvc_sink_null_create(made), "nowhere")
    return Sink(made[0], "nowhere", resumable=False)


def _check(result: int, name: str) -> None:
    if result < 0:
        raise errors.WriteFailed(destination=name, offset=0, reason=os.strerror(-result))


def _open(stack: ExitStack, path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.WriteFailed(destination=path.name, offset=0, reason=error.strerror or str(error)) from error
    stack.callback(os.close, fd)
    return fd


def _open_direct(stack: ExitStack, path: Path) -> int:
    """A descriptor with O_DIRECT, or -1: a volume's bytes need not push other pages out of the page cache."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return -1
    stack.callback(os.close, fd)
    return fd
