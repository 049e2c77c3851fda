"""Sinks of copies: the raw bytes of a file, block device or NBD export, a new qcow2 image, a stream, or none."""

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

# The compression types of a qcow2 image, with their numbers in the core.
COMPRESSIONS = {"none": 0, "zlib": 1, "zstd": 2}
_IS_ZERO = 1
_SECTOR = 512


class Sink:
    """A destination. Use it as a context manager. `size`: the most guest bytes that fit; None where that is unknown.

    `resumable`: whether a killed copy to the sink can resume.
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
    """A sink over a location that exists; `is_zero`: the location reads as zeros now.

    Raises WriteFailed, and Unsupported for a scheme that the data path does not open.
    """
    target = target_of(location)
    return open_path(target, is_zero=is_zero) if isinstance(target, Path) else open_nbd(target, is_zero=is_zero)


def open_path(path: Path, *, is_zero: bool = False) -> Sink:
    """A file or block device that exists. `is_zero`: all zeros, so that zeros need no write. Raises WriteFailed."""
    with ExitStack() as stack:
        fd, made = _open(stack, path, os.O_RDWR), ffi.new("struct nbdsvc_sink **")
        _check(lib.nbdsvc_sink_file_create(fd, _open_direct(stack, path), _IS_ZERO if is_zero else 0, made), path.name)
        return Sink(made[0], path.name)


def create_qcow2(path: Path, size: int, compression: str = "none") -> Sink:
    """A new qcow2 image for `size` guest bytes (rounded up to 512), in place of the file's content. Raises WriteFailed.

    Until the copy has succeeded, the file is no image. An interrupted copy starts from the beginning.
    """
    size = -(-size // _SECTOR) * _SECTOR
    with ExitStack() as stack:
        fd = _open(stack, path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        made = ffi.new("struct nbdsvc_sink **")
        number = COMPRESSIONS[compression]
        _check(lib.nbdsvc_sink_qcow2_create(fd, _open_direct(stack, path), size, number, made), path.name)
        return Sink(made[0], path.name, size, resumable=False)


def open_nbd(uri: str, *, is_zero: bool = False, connections: int = NBD_CONNECTIONS) -> Sink:
    """A writable NBD export. `is_zero`: the export reads as zeros now. Raises WriteFailed."""
    made, message = ffi.new("struct nbdsvc_sink **"), ffi.new("struct nbdsvc_message *")
    size, flags = ffi.new("uint64_t *"), _IS_ZERO if is_zero else 0
    address = os.fsencode(uri)
    result = native.patiently(lambda: lib.nbdsvc_sink_nbd_create(address, connections, flags, message, size, made))
    name = native.shown_uri(uri)
    if result < 0:
        raise errors.WriteFailed(destination=name, offset=0, reason=native.reason_of(message, result))
    return Sink(made[0], name, int(size[0]))


def open_stream(fd: int, name: str) -> Sink:
    """A pipe, socket or file that is written in order. The sink neither closes the descriptor nor changes its flags."""
    made = ffi.new("struct nbdsvc_sink **")
    _check(lib.nbdsvc_sink_stream_create(fd, made), name)
    return Sink(made[0], name, resumable=False)


def nowhere() -> Sink:
    """A sink that discards all bytes: a copy to it only reads the source."""
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
    """A descriptor with O_DIRECT, so that a copy does not displace other pages of the page cache; -1 without it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return -1
    stack.callback(os.close, fd)
    return fd
