"""Opens images as sources, by whoever reads their format: our own core, or a tool in a child. Inspected before that.

What only some images need is loaded when one comes: HTTP and the child take a third of the time that a small copy takes.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbdsvc import errors
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import Source
from nbdsvc.images.inspection import ImageFacts, inspect

if TYPE_CHECKING:
    from nbdsvc.images.http.client import Access
    from nbdsvc.images.http.file import HttpFile


def reader(fd: int) -> Callable[[int, int], bytes]:
    """Reads the file by a descriptor of its own, which is closed when nobody can read by it any more."""
    file = os.fdopen(os.dup(fd), "rb", buffering=0)
    return lambda at, length: os.pread(file.fileno(), length, at)


def split_disk(reference: str, exists: Callable[[str], bool]) -> tuple[str, str | None]:
    """(image, disk) of IMAGE#DISK, which names one disk of an appliance; an image whose own name has a # comes first."""
    image, mark, disk = reference.rpartition("#")
    return (image, disk) if mark and image and not exists(reference) else (reference, None)


def open_fd(fd: int, facts: ImageFacts, name: str, snapshot: str | None = None) -> Source:
    """An inspected file or device; the descriptor stays the caller's."""
    if facts.is_plain and not facts.is_foreign:
        return _cut(sources.open_fd(fd, "raw", name, snapshot), facts)
    if not facts.is_foreign:
        return sources.open_fd(fd, facts.format, name, snapshot)
    if snapshot:
        raise errors.Unsupported(reason=f"of {facts.format}, snapshots are not read")
    from nbdsvc.images import confined

    return confined.open_fd(fd, facts, name)


def open_http(
    url: str, declared: str | None = None, access: "Access | None" = None, *, field: str = "imageRef"
) -> tuple["HttpFile", ImageFacts, Source]:
    """A file on a web server, inspected and read in place. `field` is what messages call the URL."""
    from nbdsvc.images.http.file import HttpFile

    url, mark, disk = url.partition("#")
    file = HttpFile(url, access, field=field)
    try:
        return file, *_open_http(file, declared, disk if mark else None)
    except BaseException:
        file.close()
        raise


def _open_http(file: "HttpFile", declared: str | None, disk: str | None) -> tuple[ImageFacts, Source]:
    if file.size is None:
        raise errors.BadImage(image=file.name, reason="the server does not say how long the file is")
    facts = inspect(file.pread, file.size, file.name, declared, disk)
    if facts.is_foreign:
        raise errors.BadImage(image=file.name, reason=f"a {facts.format} image is read from a file: download it first")
    if not facts.is_plain and not file.ranges:
        raise errors.BadImage(image=file.name, reason="a qcow2 image needs a server that serves byte ranges")
    format = "raw" if facts.is_plain else facts.format
    source = sources.open_callback(
        file.pread, file.size, format, file.name, sequential=not file.ranges, abort=file.abort
    )
    source.on_close = file.close
    return facts, _cut(source, facts)


def _cut(source: Source, facts: ImageFacts) -> Source:
    """Without what stands behind the guest's bytes: the footer of a fixed VHD. A device's size is its own."""
    if facts.is_plain and facts.virtual_size:
        source.cut(facts.virtual_size)
    return source
