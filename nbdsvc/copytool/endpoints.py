"""The endpoints of `nbdsvc copy`: paths, devices and URIs, opened as sources and as destinations.

A new file is written as a part beside its name and renamed when complete: an unfinished copy never replaces a file.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nbdsvc import errors
from nbdsvc.copytool import busy, incoming, parts, streams
from nbdsvc.copytool.journals import Journal, identity
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.native import shown_uri
from nbdsvc.datapath.sink import Sink
from nbdsvc.datapath.source import Source
from nbdsvc.images import opening, references
from nbdsvc.images.inspection import RAW, Read
from nbdsvc.images.open_file import How, open_fd, reader
from nbdsvc.images.references import Reference
from nbdsvc.images.spool import NO_SPOOL, Spool


@dataclass(frozen=True)
class OpenSource:
    """An opened source."""

    source: Source
    format: str
    mark: tuple[object, ...]
    """Values that change with the content, as far as stat or the server's headers show a change."""
    read: Read | None = None
    """Reads the bytes of the source's file; None for an export."""
    stored: int = 0
    """Bytes of the source's file; 0 for an export."""
    status: os.stat_result | None = None
    """Of a file or device."""

    def fingerprint(self) -> bytes:
        """The mark as bytes, for a journal."""
        return repr(self.mark).encode(errors="surrogateescape")


@dataclass(frozen=True)
class DestinationOptions:
    """Options for writing a destination."""

    format: str = "raw"
    """raw or qcow2."""
    compression: str = "none"
    """none, zlib or zstd; for qcow2."""
    is_zero: bool = False
    """A device or export reads as zeros already."""
    replace: bool = False
    """A file that exists may be replaced."""
    journal: Path | None = None
    """The file that lets a killed copy resume, and keeps what it wrote."""


class Destination:
    """An opened destination: `sink`, `reopen()` for reading back what was written, and the journal for the copy."""

    def __init__(self, sink: Sink, path: Path | None, uri: str = "") -> None:
        self.sink = sink
        self.name = sink.name
        self.journal: int | None = None
        self.fingerprint = b""
        self._path = path
        self._uri = uri

    def reopen(self, format: str) -> Source:
        """Open the destination as a source; cached pages are dropped first. Unsupported for a stream."""
        if self._path is None and not self._uri:
            raise errors.Unsupported(reason=f"{self.name} cannot be read again")
        if self._path is None:
            return sources.open_nbd(self._uri)
        return sources.open_path(self._path, format, from_storage=True)

    def allocated(self) -> int | None:
        """Bytes that a file takes on its file system; None for devices and exports."""
        if self._path is None or not self._path.is_file():
            return None
        return self._path.stat().st_blocks * 512


def open_source(
    reference: str, format: str | None = None, snapshot: str | None = None, spool: Spool = NO_SPOOL
) -> OpenSource:
    """Open a path, "-" for standard input, or an nbd or http URI.

    format None: detected from the bytes of a file; raw for a device and an export.
    Raises InvalidInput, Unsupported, BadImage, ReadFailed, WriteFailed (of the spool).
    """
    place = references.parse(reference, "SOURCE")
    if place.kind == references.NBD:
        if format not in (None, "raw"):
            raise errors.Unsupported(reason="--source-format: an NBD export is read as it is: raw")
        _no_snapshot(snapshot, "an NBD export")
        export = sources.open_nbd(place.text)
        return OpenSource(export, "raw", (export.name, export.size))
    if place.kind == references.HTTP:
        _no_snapshot(snapshot, "an image behind http")
        return _open_http(place.text, How(format, spool=spool))
    if incoming.is_incoming(place.text):
        return _open_incoming(place.text, How(format, snapshot=snapshot, spool=spool))
    path, disk = opening.split_disk("/dev/stdin" if place.text == "-" else place.text, os.path.lexists)
    return _open_file(Path(path), How(format, disk, snapshot, spool=spool))


def _open_http(url: str, how: How) -> OpenSource:
    file, facts, opened = opening.open_http(url, how)
    read = None if file.size is None else file.pread
    return OpenSource(opened, facts.format, file.mark(), read, file.size or 0)


def _open_file(path: Path, how: How) -> OpenSource:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return _open_descriptor(fd, path, how)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(fd)


def _open_incoming(reference: str, how: How) -> OpenSource:
    """Collect all bytes in the spool, then open them like a file."""
    with incoming.collect(reference, how.spool) as fd:
        return replace(_open_descriptor(fd, incoming.name_of(reference), how), status=None)


def _open_descriptor(fd: int, path: Path, how: How) -> OpenSource:
    status = os.fstat(fd)
    _check_kind(path, status)
    if stat.S_ISBLK(status.st_mode) and how.declared in (None, "raw") and how.disk is None:
        # A device's format is not detected: a guest could write a qcow2 header that names files of this host.
        facts, opened = RAW, open_fd(fd, RAW, path.name, how.snapshot)
    else:
        facts, opened = opening.open_file(fd, path.name, how)
    mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, how.snapshot, how.disk)
    return OpenSource(opened, facts.format, mark, reader(fd), os.lseek(fd, 0, os.SEEK_END), status)


def _unreadable(path: Path, error: OSError) -> errors.ReadFailed:
    return errors.ReadFailed(source=str(path), offset=0, reason=error.strerror or str(error))


def _no_snapshot(snapshot: str | None, of: str) -> None:
    if snapshot is not None:
        raise errors.Unsupported(reason=f"--snapshot {snapshot}: {of} has no snapshots that are read here")


def _check_kind(path: Path, status: os.stat_result) -> None:
    for kind, reason in (
        (stat.S_ISDIR, "it is a folder"),
        (stat.S_ISCHR, "it is a character device"),
    ):
        if kind(status.st_mode):
            raise errors.ReadFailed(source=str(path), offset=0, reason=f"{reason}, neither a file nor a block device")


@contextmanager
def open_destination(
    place: Reference, size: int, options: DestinationOptions, opened: OpenSource
) -> Iterator[Destination]:
    """A block with a destination for `size` bytes of `opened`. A new file gets its name when the block succeeds.

    Raises InvalidInput, Unsupported, Conflict, DeviceBusy, OutOfSpace, WriteFailed.
    """
    if place.kind == references.HTTP:
        raise errors.Unsupported(reason=f"DESTINATION: {shown_uri(place.text)} can be read, and not written")
    if place.kind == references.NBD:
        with sinks.open_nbd(place.text, is_zero=options.is_zero) as sink, ExitStack() as stack:
            _check_room(sink.name, sink.size, size)
            destination = Destination(sink, None, place.text)
            yield _journalled(stack, destination, options, opened, place.text, size)
    elif streams.is_stream(place.text):
        with streams.open_stream(place.text) as sink:
            yield Destination(sink, None)
    elif stat.S_ISBLK(streams.mode_of(place.text)):
        with _open_device(Path(place.text), size, options, opened) as destination:
            yield destination
    else:
        with _new_file(parts.judge(place.text, options.replace), size, options, opened) as destination:
            yield destination


def _journalled(
    stack: ExitStack, destination: Destination, options: DestinationOptions, opened: OpenSource, place: str, size: int
) -> Destination:
    """Bind the journal to a device or export. Its identity is "", because nothing distinguishes it from a later one."""
    if options.journal is not None:
        journal = stack.enter_context(Journal(options.journal, opened.fingerprint(), place, size))
        destination.journal, destination.fingerprint = journal.begin("", anew=not journal.knows(""))
        stack.push(lambda kind, _error, _trace: journal.remove() if kind is None else None)
    return destination


@contextmanager
def _open_device(path: Path, size: int, options: DestinationOptions, opened: OpenSource) -> Iterator[Destination]:
    with ExitStack() as stack:
        fd = stack.enter_context(busy.claimed(path, opened.status))
        status = os.fstat(fd)
        if opened.status and stat.S_ISBLK(opened.status.st_mode) and opened.status.st_rdev == status.st_rdev:
            raise _itself(path)
        _check_room(str(path), os.lseek(fd, 0, os.SEEK_END), size)
        sink = stack.enter_context(sinks.open_path(path, is_zero=options.is_zero))
        place = f"{os.path.realpath(path)} {status.st_rdev}"
        yield _journalled(stack, Destination(sink, path), options, opened, place, size)


@contextmanager
def _new_file(path: Path, size: int, options: DestinationOptions, opened: OpenSource) -> Iterator[Destination]:
    if opened.status and path.exists() and os.path.samestat(opened.status, path.stat()):
        raise _itself(path)
    with ExitStack() as stack:
        journal = _file_journal(stack, path, size, options, opened)
        with parts.open_part(
            path,
            is_known=lambda fd: journal is not None and journal.knows(identity(fd)),
            keeps=lambda: journal is not None and journal.fd is not None,
        ) as part:
            fresh = journal is None or not journal.knows(identity(part.fd)) or os.fstat(part.fd).st_size != size
            with _sink(part, size, options, fresh) as sink:
                sink.name = path.name  # the name in messages: the file's, not the part's
                destination = Destination(sink, part.path)
                if journal is not None:
                    destination.journal, destination.fingerprint = journal.begin(identity(part.fd), anew=fresh)
                yield destination
        if journal is not None:
            journal.remove()


def _file_journal(
    stack: ExitStack, path: Path, size: int, options: DestinationOptions, opened: OpenSource
) -> Journal | None:
    if options.journal is None:
        return None
    for other in (path, parts.part_of(path)):
        if os.path.realpath(options.journal) == os.path.realpath(other):
            raise errors.Conflict(reason=f"--journal {options.journal}: it is the destination")
    return stack.enter_context(Journal(options.journal, opened.fingerprint(), os.path.realpath(path), size))


def _itself(path: Path) -> errors.Conflict:
    return errors.Conflict(reason=f"{path} is the source itself")


def _sink(part: parts.Part, size: int, options: DestinationOptions, fresh: bool) -> Sink:
    if options.format == "qcow2":
        return sinks.create_qcow2(part.path, size, options.compression)
    if fresh:
        parts.make_empty(part, size)
    return sinks.open_path(part.path, is_zero=fresh)


def _check_room(name: str, room: int | None, size: int) -> None:
    if room is not None and room < size:
        raise errors.OutOfSpace(pool=name, requested=size, free=room, reason=f"it has {room} bytes, {size} are needed")
