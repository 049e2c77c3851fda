"""Opens images that come as a stream: compressed files, and files of servers that give their bytes in order only.

A raw disk is read from its stream, without a copy on disk. How large it is stands nowhere that can be trusted (gzip's
length is modulo 2^32), so the stream is read twice: once for its length and its soundness, before anything is written, and
once for its bytes. Whatever needs random access is kept in the spool first.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from nbdsvc import errors
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import Source
from nbdsvc.images import inspection, open_file
from nbdsvc.images.formats import signatures, tar
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.spool import PIECE
from nbdsvc.images.unpacking import Next, Unpacker

Abort = Callable[[], None] | None
# Bytes that inspection reads: the beginning, and the bytes behind the data.
_HEAD, _TAIL = PIECE, 4096


class Stream:
    """An image's bytes in their order. `begin` makes one that reads the file from its beginning; kind: how it is packed."""

    def __init__(self, begin: Callable[[], Next], kind: str | None, name: str, how: open_file.How) -> None:
        self._begin, self._kind, self.name, self._how = begin, kind, name, how
        self._next = self._anew()
        self._at = 0

    def opened(self) -> None:
        """Stop looking at `should_stop`: from now on a copy reads, and sees a cancel itself."""
        self._how = replace(self._how, should_stop=lambda: False)

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes from the beginning. Raises Stopped when `should_stop` returns True."""
        take = self._anew()
        while piece := take(PIECE):
            self._how.check_stop()
            yield piece

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; what stands before them has to be read through. ReadFailed where it ends earlier."""
        if offset < self._at:
            self._next, self._at = self._anew(), 0
        while self._at < offset:
            self._take(min(PIECE, offset - self._at))
        parts = []
        while length:
            parts.append(self._take(length))
            length -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, length: int) -> bytes:
        piece = self._next(length)
        if not piece:
            raise errors.ReadFailed(source=self.name, offset=self._at, reason="it is shorter than it was")
        self._at += len(piece)
        return piece

    def _anew(self) -> Next:
        read = self._begin()

        def packed(length: int) -> bytes:
            self._how.check_stop()
            return read(length)

        return Unpacker(self._kind, packed, self.name).read if self._kind else packed


def open_stream(
    begin: Callable[[], Next], kind: str | None, name: str, how: open_file.How, abort: Abort = None
) -> tuple[ImageFacts, Source]:
    """The image in the stream, inspected as every other. `abort` ends reads of the file, from any thread."""
    stream = Stream(begin, kind, name, how)
    pieces = stream.pieces()
    head = b"".join(_until(pieces, _HEAD))
    needs = _needs_random_access(head, name, kind, how)
    every = chain([head], pieces)
    if needs:
        how.spool.check(name, f"its {needs} image is kept on disk while it is read")
        return _spooled(every, name, how)
    return _measured(stream, every, how, abort)


def head_of(take: Next) -> bytes:
    """The first signatures.HEAD bytes, fewer of a short file."""
    return b"".join(_until(iter(lambda: take(signatures.HEAD), b""), signatures.HEAD))[: signatures.HEAD]


def _until(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield pieces until they have `length` bytes."""
    while length > 0 and (piece := next(pieces, b"")):
        yield piece
        length -= len(piece)


def _needs_random_access(head: bytes, name: str, kind: str | None, how: open_file.How) -> str | None:
    """The inner format; None of raw bytes."""

    def read(at: int, length: int) -> bytes:
        return head[at : at + length]

    inner = signatures.recognise(read, len(head))
    if kind and inner in signatures.STREAMS:
        raise errors.BadImage(
            image=name, reason=f"its content is {inner} in {kind}: what is compressed twice is not read"
        )
    found = inspection.detect(read, len(head), name, how.declared)
    if found == "raw":
        return "ova" if how.declared in (None, "ova") and tar.is_tar(read, len(head)) else None
    return found


def _measured(stream: Stream, pieces: Iterable[bytes], how: open_file.How, abort: Abort) -> tuple[ImageFacts, Source]:
    size, head, tail = 0, b"", b""
    for piece in pieces:
        head = head or piece
        size, tail = size + len(piece), (tail + piece)[-_TAIL:]
        if size > how.most:
            reason = f"it unpacks to more than {how.most} bytes, which is more than there is room for"
            raise errors.BadImage(image=stream.name, reason=reason)

    def read(at: int, length: int) -> bytes:
        begin = size - len(tail)
        return tail[at - begin : at - begin + length] if at >= begin else head[at : at + length]

    facts = inspection.inspect(read, size, stream.name, how.declared, how.disk)
    if how.snapshot is not None:
        raise errors.Unsupported(reason=f"--snapshot {how.snapshot}: raw bytes have no snapshots")
    stream.opened()
    source = sources.open_callback(stream.pread, size, "raw", stream.name, sequential=True, abort=abort)
    source.cut(facts.virtual_size)
    return facts, source


def _spooled(pieces: Iterable[bytes], name: str, how: open_file.How) -> tuple[ImageFacts, Source]:
    fd = how.spool.make()
    size = 0
    try:
        for piece in pieces:
            how.spool.take(len(piece), name)
            size += len(piece)
            how.spool.keep(fd, piece, size - len(piece))
        facts, source = _open_spooled(fd, size, name, how)
    except BaseException:
        how.spool.give_back(size)
        raise
    else:
        source.on_close = lambda: how.spool.give_back(size)
        return facts, source
    finally:
        os.close(fd)


def _open_spooled(fd: int, size: int, name: str, how: open_file.How) -> tuple[ImageFacts, Source]:
    how.spool.end(fd, size)
    with how.spool.named(fd) as named:
        facts = inspection.inspect(open_file.reader(named), size, name, how.declared, how.disk)
        return facts, open_file.open_fd(named, facts, name, how.snapshot, how.spool)
