"""Opens images as sources, by the C core or by a tool in a sandboxed child. Inspects them before that.

What only some images need is loaded when one comes: HTTP and the child take a third of the time that a small copy takes.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import Source
from nbdsvc.images.formats import signatures
from nbdsvc.images.inspection import ImageFacts, Read, inspect
from nbdsvc.images.open_file import PLAIN, How, cut_footer, open_fd, reader

if TYPE_CHECKING:
    from nbdsvc.images.http.access import Access
    from nbdsvc.images.http.file import HttpFile


class Served(Protocol):
    """A file of a server. size: bytes, None where it is known at the end only; ranges: whether reads come in any order."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def size(self) -> int | None:
        """Bytes."""

    @property
    def ranges(self) -> bool:
        """Whether it is read in any order, by several threads."""

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes."""

    def read_next(self, offset: int, most: int) -> bytes:
        """The bytes behind those that were read; empty at the end."""

    def abort(self) -> None:
        """End every read."""


def split_disk(reference: str, exists: Callable[[str], bool]) -> tuple[str, str | None]:
    """(image, disk) of IMAGE#DISK, which names one disk of an appliance; an image whose own name has a # comes first."""
    image, mark, disk = reference.rpartition("#")
    return (image, disk) if mark and image and not exists(reference) else (reference, None)


def open_file(fd: int, name: str, how: How) -> tuple[ImageFacts, Source]:
    """A file or device, inspected; a compressed one is read through. The descriptor stays the caller's."""
    read, size = reader(fd), os.lseek(fd, 0, os.SEEK_END)
    kind = _packed(read(0, min(size, signatures.HEAD)), how)
    if kind is None:
        facts = inspect(read, size, name, how.declared, how.disk)
        return facts, open_fd(fd, facts, name, how.snapshot, how.spool)
    from nbdsvc.images import packed

    return packed.open_stream(in_order(read), kind, name, how)


def open_http(
    url: str, how: How = PLAIN, access: "Access | None" = None, *, field: str = "imageRef"
) -> tuple["HttpFile", ImageFacts, Source]:
    """A file on a web server, inspected and read in place where it can be. `field` is what messages call the URL."""
    from nbdsvc.images.http.file import HttpFile

    url, mark, disk = url.partition("#")
    file = HttpFile(url, access, field=field)
    try:
        facts, source = open_served(file, replace(how, disk=disk if mark else None))
    except BaseException:
        file.close()
        raise
    also = source.on_close

    def close() -> None:
        also()
        file.close()

    source.on_close = close
    return file, facts, source


def open_served(file: Served, how: How) -> tuple[ImageFacts, Source]:
    """A file of a server, inspected and read in place where it can be; the file stays the caller's."""
    from nbdsvc.images import packed

    if file.size is None:  # the size of a stream is known at its end only
        begin = in_order(file.read_next)
        kind = _packed(packed.head_of(begin()), how)
        return packed.open_stream(begin, kind, file.name, how, file.abort)
    read, size = file.pread, file.size
    kind = _packed(read(0, min(size, signatures.HEAD)), how)
    if kind is None:
        facts = inspect(read, size, file.name, how.declared, how.disk)
        is_plain = facts.is_plain and not facts.is_foreign
        if is_plain or (file.ranges and not facts.is_foreign):
            format, is_once = "raw" if is_plain else facts.format, not file.ranges
            source = sources.open_callback(read, size, format, file.name, sequential=is_once, abort=file.abort)
            return facts, cut_footer(source, facts)
    begin = in_order(lambda at, most: read(at, min(most, size - at)))
    return packed.open_stream(begin, kind, file.name, how, file.abort)


def _packed(head: bytes, how: How) -> str | None:
    """The compression of the file; None where it has none, or is declared to be the disk itself."""
    found = None if how.declared == "raw" else signatures.recognise(lambda at, n: head[at : at + n], len(head))
    return found if found in signatures.STREAMS else None


def in_order(read: Read) -> Callable[[], Callable[[int], bytes]]:
    """A function that starts reading the file and returns a function of the next bytes. read(offset, most)."""

    def begin() -> Callable[[int], bytes]:
        at = 0

        def take(length: int) -> bytes:
            nonlocal at
            piece = read(at, length)
            at += len(piece)
            return piece

        return take

    return begin
