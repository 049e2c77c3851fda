"""Glance in the place of the image folder: an id is one of Glance's images; paths and URLs are as they were."""

import contextlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nbdsvc import errors
from nbdsvc.datapath.source import Source
from nbdsvc.images import opening
from nbdsvc.images.boot_snapshot import boot_snapshot
from nbdsvc.images.checksum import Check, Checking
from nbdsvc.images.glance.client import Glance
from nbdsvc.images.glance.file import GlanceFile, Ordered
from nbdsvc.images.glance.record import Record
from nbdsvc.images.glance.rest import never
from nbdsvc.images.http import url
from nbdsvc.images.http.access import Access
from nbdsvc.images.index import Image
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.open_file import How, reader
from nbdsvc.images.resolve import FoundImage, Images, OpenImage, is_path
from nbdsvc.images.spool import Spool
from nbdsvc.images.version import ImageVersion
from nbdsvc.model import names
from nbdsvc.model.context import ANONYMOUS, Context
from nbdsvc.units import TiB

# Look-ups at once: a slow image service must not take the threads by which all other requests are answered.
LOOK_UPS = 8
_WAIT_SECONDS = 2.0
# Requests that wait for one, each of which holds a thread of the API; others are refused at once.
_LINE = 8


class GlanceImages(Images):
    """near: folders of Glance's file store that this host sees, whose files are read there; none: all comes by http."""

    def __init__(
        self,
        glance: Glance,
        near: Iterable[Path] = (),
        allowed: Iterable[Path] = (),
        http: Access | None = None,
        *,
        spool: Spool,
        kept: Iterable[Path] = (),
    ) -> None:
        super().__init__(None, allowed, http, spool, kept)
        self.glance = glance
        self._near = [path.resolve() for path in near]
        self._free = threading.BoundedSemaphore(LOOK_UPS)
        self._line = threading.BoundedSemaphore(LOOK_UPS + _LINE)

    def check_there(self) -> None:
        """See Images. Nothing is sent to Glance for it: each request says itself what it lacks."""

    def look_up(self, reference: str, context: Context) -> FoundImage:
        """See Images. One request to Glance, which judges by the token of the request what the project may see."""
        if url.is_http(reference) or is_path(reference):
            return FoundImage(self.resolve(reference, context))
        id, disk = _split(reference)
        found = self._find(id, context)
        snapshot = boot_snapshot(Image(id, found.name, size=found.size or 0, properties=found.properties))
        return FoundImage(
            id + ("" if disk is None else f"#{disk}"),
            found.properties,
            snapshot,
            found.check,
        )

    def resolve(self, reference: str, context: Context) -> str:
        """See Images."""
        if url.is_http(reference) or is_path(reference):
            return super().resolve(reference, context)
        return self.look_up(reference, context).reference

    def open(
        self,
        reference: str,
        context: Context = ANONYMOUS,
        most: int = 64 * TiB,
        should_stop: Callable[[], bool] = never,
    ) -> OpenImage:
        """See Images. By the service user: the request's own token may be over, and is kept nowhere."""
        if url.is_http(reference) or is_path(reference):
            return super().open(reference, context, most, should_stop)
        id, disk = _split(reference)
        record = self._record(id, context, should_stop)
        how = How(declared=record.declared, disk=disk, most=most, spool=self._spool, should_stop=should_stop)
        return self._open_near(record, how) or self._open_far(record, how)

    def version(self, reference: str, context: Context) -> ImageVersion | None:
        """See Images. One request to Glance, as of `open`."""
        if url.is_http(reference) or is_path(reference):
            return super().version(reference, context)
        id, disk = _split(reference)
        return _version(self._record(id, context, never), disk)

    def _record(self, id: str, context: Context, should_stop: Callable[[], bool]) -> Record:
        record = self.glance.get(id, should_stop) if context.is_admin else self.glance.find(id, context)
        record.check()
        return record

    def _find(self, id: str, context: Context) -> Record:
        with _held(self._line, 0), _held(self._free, _WAIT_SECONDS):
            return self.glance.find(id, context)

    def _open_far(self, record: Record, how: How) -> OpenImage:
        file = GlanceFile(self.glance, record)
        try:
            if record.declared == "qcow2" and file.ranges:  # read by its tables; what is digested is read beside that
                check: Checking = Check(record.checksum, file.pread, record.size or 0, file.name)
                facts, source = opening.open_served(file, how)
            else:
                check = ordered = Ordered(file, record.checksum)
                facts, source = opening.open_served(ordered, how)
        except BaseException:
            file.close()
            raise
        _also_on_close(source, file.close)
        return _opened(record, facts, source, check, how)

    def _open_near(self, record: Record, how: How) -> OpenImage | None:
        """The file of Glance's file store; None where this host does not see it, or may not open it."""
        path = next(filter(None, map(self._near_path, record.locations)), None)
        if path is None or (fd := _open(path, record.size)) < 0:
            return None
        try:
            name = record.name or record.id
            facts, source = opening.open_file(fd, name, how)
            check = Check(record.checksum, reader(fd), record.size or 0, name)
        finally:
            os.close(fd)
        return _opened(record, replace(facts, virtual_size=source.size), source, check, how)

    def _near_path(self, location: str) -> Path | None:
        """The path of a location in one of the operator's folders, whatever links lead there."""
        if not self._near or location[:5].lower() != "file:":
            return None
        try:
            path = Path(unquote(urlsplit(location).path)).resolve()
        except (ValueError, OSError, RuntimeError):
            return None
        return path if any(path.is_relative_to(folder) for folder in self._near) else None


@contextlib.contextmanager
def _held(places: threading.BoundedSemaphore, seconds: float) -> Iterator[None]:
    if not places.acquire(timeout=seconds):
        reason = "it is slow, and other requests wait for it already"
        raise errors.ImageServiceFailed(backend="Glance", reason=reason)
    try:
        yield
    finally:
        places.release()


def _split(reference: str) -> tuple[str, str | None]:
    """(id, disk) of ID or ID#DISK. NotFound for what is no id, as Glance answers it."""
    id, mark, disk = reference.partition("#")
    if not names.is_id(id):
        raise errors.NotFound(resource="Image", id=reference[:80])
    return id, disk if mark else None


def _open(path: Path, size: int | None) -> int:
    """A descriptor of the file; -1 where it is none, or not of this size."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return -1
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size == size:
        return fd
    os.close(fd)
    return -1


def _version(record: Record, disk: str | None) -> ImageVersion | None:
    """Of an image with a digest. What a volume shows of the image is a part of it, for a clone shows that of its entry."""
    if record.checksum is None:
        return None
    return ImageVersion(record.id, json.dumps([record.size, record.checksum.digest, disk, record.metadata()]))


def _opened(record: Record, facts: ImageFacts, source: Source, check: Checking, how: How) -> OpenImage:
    digest = record.checksum.digest if record.checksum else ""
    mark = json.dumps([record.id, record.size, digest, how.disk])
    name = record.name or record.id
    return OpenImage(
        facts, source, sha256(mark.encode()).digest(), name, record.id, check,
        version=_version(record, how.disk), properties=record.metadata(),
    )  # fmt: skip


def _also_on_close(source: Source, close: Callable[[], None]) -> None:
    before = source.on_close

    def both() -> None:
        before()
        close()

    source.on_close = both
