"""What `nbdsvc copy` may be given: paths, devices and URIs, opened as sources and as destinations.

A new file is written beside its name and renamed when it is whole; a file that is there already is never half replaced.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nbdsvc import durable, errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.sink import Sink
from nbdsvc.datapath.source import Source
from nbdsvc.images import opening, streams
from nbdsvc.images.inspection import ImageFacts, Read, inspect

_NBD = ("nbd://", "nbds://", "nbd+unix://", "nbds+unix://")
_HTTP = ("http://", "https://")
_PART = ".nbdsvc-part"


@dataclass(frozen=True)
class Origin:
    """An opened source. `mark`: what changes with its content, as far as that can be seen from outside.

    `read` and `stored`: the bytes of its file and how many there are; none of an export.
    """

    source: Source
    format: str
    mark: tuple[object, ...]
    read: Read | None = None
    stored: int = 0

    def fingerprint(self) -> bytes:
        """The mark for a journal."""
        import hashlib  # loads OpenSSL, which a copy without a journal does not need

        return hashlib.sha256(repr(self.mark).encode()).digest()


@dataclass(frozen=True)
class Wanted:
    """What a destination is to be. compression: for qcow2; is_zero: a device or export reads as zeros already;
    replace: a file that exists may be replaced; keep: what an interrupted copy wrote stays, for its journal."""

    format: str = "raw"
    compression: str = "none"
    is_zero: bool = False
    replace: bool = False
    keep: bool = False


class Target:
    """An opened destination: `sink`, and `reopen()` for reading back what was written."""

    def __init__(self, sink: Sink, path: Path | None, format: str, uri: str = "") -> None:
        self.sink = sink
        self.name = sink.name
        self.format = format
        self._path = path
        self._uri = uri

    def reopen(self) -> Source:
        """As a source, from storage: what the page cache holds of it is dropped first."""
        if self._path is None and not self._uri:
            raise errors.Unsupported(reason=f"{self.name} cannot be read again")
        if self._path is None:
            return sources.open_nbd(self._uri)
        return sources.open_path(self._path, self.format, from_storage=True)

    def allocated(self) -> int | None:
        """Bytes that a file takes on its file system; None for devices and exports."""
        if self._path is None or not self._path.is_file():
            return None
        return self._path.stat().st_blocks * 512


def open_origin(reference: str, format: str | None = None, snapshot: str | None = None) -> Origin:
    """A path, or an nbd or http URI. `format` None: as its own bytes say for a file, raw for a device and an export."""
    if reference.startswith(_NBD):
        if format not in (None, "raw") or snapshot:
            raise errors.Unsupported(reason="an NBD export is read as it is: raw")
        export = sources.open_nbd(reference)
        return Origin(export, "raw", (export.name, export.size))
    if reference.startswith(_HTTP):
        return _open_http(reference, format)
    return _open_file(Path(reference), format, snapshot)


def _open_http(url: str, format: str | None) -> Origin:
    file, facts, opened = opening.open_http(url, format)
    return Origin(opened, facts.format, (file.name, file.size, file.version), file.pread, file.size)


def _open_file(path: Path, format: str | None, snapshot: str | None) -> Origin:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise errors.ReadFailed(source=str(path), offset=0, reason=error.strerror or str(error)) from error
    try:
        status = os.fstat(fd)
        if stat.S_ISBLK(status.st_mode) and format in (None, "raw"):
            facts = ImageFacts("raw", 0, 0)  # what a guest wrote there has no say in how it is read
        else:
            facts = _inspect(fd, path, format)
        mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, snapshot)
        if facts.is_foreign and not stat.S_ISREG(status.st_mode):
            raise errors.Unsupported(reason=f"{facts.format} is read from a file only")
        opened = opening.open_fd(fd, facts, path.name, snapshot)
        return Origin(opened, facts.format, mark, opening.reader(fd), os.lseek(fd, 0, os.SEEK_END))
    finally:
        os.close(fd)


def _inspect(fd: int, path: Path, format: str | None) -> ImageFacts:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise errors.ReadFailed(source=str(path), offset=0, reason="it is neither a file nor a block device")
    size = os.lseek(fd, 0, os.SEEK_END)
    return inspect(lambda at, length: os.pread(fd, length, at), size, path.name, format)


@contextmanager
def open_target(reference: str, size: int, wanted: Wanted) -> Iterator[Target]:
    """A destination for `size` bytes; "-": standard output. Leaving without an exception gives a new file its name."""
    if reference.startswith(_NBD):
        if wanted.format != "raw":
            raise errors.Unsupported(reason="an NBD export is written as it is: raw")
        with sinks.open_nbd(reference, is_zero=wanted.is_zero) as sink:
            _check_room(sink.name, sink.size, size)
            yield Target(sink, None, "raw", reference)
    elif streams.is_stream(reference):
        with streams.open_stream(reference) as sink:
            yield Target(sink, None, "raw")
    elif stat.S_ISBLK(streams.mode_of(reference)):
        with _open_device(Path(reference), size, wanted) as sink:
            yield Target(sink, Path(reference), wanted.format)
    else:
        with _new_file(Path(reference), size, wanted) as target:
            yield target


@contextmanager
def _open_device(path: Path, size: int, wanted: Wanted) -> Iterator[Sink]:
    if wanted.format != "raw":
        raise errors.Unsupported(reason="a block device is written as it is: raw")
    with path.open("rb") as device:
        _check_room(str(path), device.seek(0, os.SEEK_END), size)
    with sinks.open_path(path, is_zero=wanted.is_zero) as sink:
        yield sink


@contextmanager
def _new_file(path: Path, size: int, wanted: Wanted) -> Iterator[Target]:
    found = streams.mode_of(path)
    if found and not (wanted.replace and stat.S_ISREG(found)):
        raise errors.Conflict(reason=f"{path} exists")
    part = path.with_name(f".{path.name}{_PART}")
    with _locked(part):
        try:
            with _sink(part, size, wanted) as sink:
                sink.name = path.name  # what messages should say
                yield Target(sink, part, wanted.format)
            part.replace(path)
            durable.sync_folder(path.parent)
        except BaseException:
            if not (wanted.keep and sink.resumable):
                part.unlink(missing_ok=True)
            raise


def _sink(part: Path, size: int, wanted: Wanted) -> Sink:
    if wanted.format == "qcow2":
        return sinks.create_qcow2(part, size, wanted.compression)
    fresh = not (wanted.keep and part.stat().st_size == size)
    if fresh:
        os.truncate(part, 0)
        os.truncate(part, size)
    return sinks.open_path(part, is_zero=fresh)


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Two copies to one name would write one file: the second is told."""
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise errors.WriteFailed(destination=str(part), offset=0, reason=error.strerror or str(error)) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise errors.Conflict(reason=f"another copy is writing {part}") from None
    finally:
        os.close(fd)


def _check_room(name: str, room: int | None, size: int) -> None:
    if room is not None and room < size:
        raise errors.OutOfSpace(pool=name, requested=size, free=room, reason=f"it has {room} bytes, {size} are needed")
