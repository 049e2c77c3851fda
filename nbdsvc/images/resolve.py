"""Resolves the image of a request (id, name, path or URL) to an inspected source."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from nbdsvc import errors
from nbdsvc.datapath import source as datapath
from nbdsvc.images import opening
from nbdsvc.images.boot_snapshot import boot_snapshot
from nbdsvc.images.checksum import Check, Checking, beside
from nbdsvc.images.http import url
from nbdsvc.images.http.access import Access
from nbdsvc.images.image_store import Image, ImageFolder
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.open_file import How, reader
from nbdsvc.images.spool import NO_SPOOL, Spool
from nbdsvc.images.version import ImageVersion, of_file
from nbdsvc.model.context import ANONYMOUS, Context
from nbdsvc.units import TiB

# The scheme of a URL (RFC 3986, 3.1), which no image's id or name begins with.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class OpenImage:
    """An image that was judged and may be copied. `fingerprint` changes when its content does; close `source`.

    `check`: whether its file is what its catalogue says, see images/checksum.py.
    """

    facts: ImageFacts
    source: datapath.Source
    fingerprint: bytes
    name: str
    id: str | None
    check: Checking
    version: ImageVersion | None = None
    """Which bytes these are; None where the source cannot say, so that no copy of them is kept."""
    location: str | None = None
    """A URL of the image's file for a driver that may clone it, without credentials; None where a driver cannot."""
    properties: dict[str, str] = field(default_factory=dict)
    """What a volume keeps of it besides (volume_image_metadata)."""


@dataclass(frozen=True)
class FoundImage:
    """What a request learns of an image before anything is read of it.

    reference: for the host, see `Images.resolve`; boot_snapshot: what an image without bytes stands for. check: raises
    InvalidInput where no volume of so many GiB can be made of it.
    """

    reference: str
    properties: dict[str, str] = field(default_factory=dict)
    boot_snapshot: str | None = None
    check: Callable[[int | None], None] = lambda _size: None


class Images:
    """Resolves and opens images. allowed: folders whose files may be named by path; http: None switches URLs off.

    kept: folders of the service (its database, the volumes of all projects), which an allowed folder above does not allow.

    spool: what images may take on disk while they are read.
    """

    def __init__(
        self,
        folder: ImageFolder | None,
        allowed: Iterable[Path] = (),
        http: Access | None = None,
        spool: Spool = NO_SPOOL,
        kept: Iterable[Path] = (),
    ) -> None:
        self._folder = folder
        self._allowed = [path.resolve() for path in allowed]
        self._kept = [path.resolve() for path in kept]
        self._http = http
        self._spool = spool

    @property
    def folder(self) -> ImageFolder:
        """The image folder; Unsupported where images are kept elsewhere."""
        if self._folder is None:
            raise errors.Unsupported(reason="images are kept by the image service: list, make and delete them there")
        return self._folder

    def check_there(self) -> None:
        """OSError where the images cannot be listed now."""
        self.folder.list()

    def sweep(self) -> None:
        """Remove what a killed process left of its images."""
        self._spool.sweep()

    def open(
        self,
        reference: str,
        context: Context = ANONYMOUS,
        most: int = 64 * TiB,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> OpenImage:
        """Open an image that `context` may use. Raises NotFound, InvalidInput (field imageRef) or BadImage.

        IMAGE#DISK names a disk of an appliance. most: bytes of the volume, which end an image that unpacks to more.
        Stopped, when `should_stop` says so meanwhile.
        """
        how = How(most=most, spool=self._spool, should_stop=should_stop)
        if url.is_http(reference):
            return self._open_http(reference, how)
        reference, disk = opening.split_disk(reference, lambda name: self._exists(name, context))
        how = replace(how, disk=disk)
        if is_path(reference):
            return self._open_path(self._permitted(reference), how)
        image = self.folder.get(reference, context)
        return self._open_file(self.folder.open(image), self.folder.path(image), image, how)

    def version(self, reference: str, context: Context) -> ImageVersion | None:
        """Which bytes the image has now that `context` may use; None where its source cannot say at once. Reads none of them.

        It is called where nothing may wait: a web server that a user names is not inquired of, and has no versions.
        Errors as of `open`, so that a request learns nothing of an image that it may not use.
        """
        if url.is_http(reference):
            return None
        reference, disk = opening.split_disk(reference, lambda name: self._exists(name, context))
        image = None if is_path(reference) else self.folder.get(reference, context)
        path = self.folder.path(image) if image else self._permitted(reference)
        fd = self.folder.open(image) if image else _open_path(path)
        try:
            return of_file(image.id if image else str(path), os.fstat(fd), disk, beside(path), _shown(image))
        finally:
            os.close(fd)

    def resolve(self, reference: str, context: Context) -> str:
        """The reference for the host: an image's id in place of its name, since names may come and go meanwhile.

        Raises what is known before anything is read: a name that the project lacks, a path that is not allowed.
        """
        if url.is_http(reference):
            self._check_url(reference)
            return reference
        name, disk = opening.split_disk(reference, lambda name: self._exists(name, context))
        if is_path(name):
            self._permitted(name)
            return reference
        if found := _SCHEME.match(name):
            raise errors.InvalidInput(field="imageRef", value="URL", reason=f"{found[1]}: is not supported")
        return self.folder.get(name, context).id + ("" if disk is None else f"#{disk}")

    def look_up(self, reference: str, context: Context) -> FoundImage:
        """What is known of the image that `context` names. Raises as `resolve`."""
        image = self._indexed(reference, context)
        found = FoundImage(self.resolve(reference, context))
        return replace(found, properties=image.properties, boot_snapshot=boot_snapshot(image)) if image else found

    def _indexed(self, reference: str, context: Context) -> Image | None:
        """The image of the folder that this names; None for a path or a URL."""
        if url.is_http(reference):
            return None
        name, _disk = opening.split_disk(reference, lambda name: self._exists(name, context))
        return None if is_path(name) or _SCHEME.match(name) else self.folder.get(name, context)

    def _exists(self, reference: str, context: Context) -> bool:
        """Whether an image has this whole name, although a # is in it."""
        if is_path(reference):
            return reference.startswith("/") and Path(reference).exists()
        try:
            self.folder.get(reference, context)
        except errors.NotFound:
            return False
        except errors.Conflict:
            return True
        return True

    def _check_url(self, reference: str) -> Access:
        """The limits for fetching the URL. InvalidInput before anything is sent to the network."""
        parsed = url.parse(reference.partition("#")[0])
        if self._http is None:
            raise errors.InvalidInput(field="imageRef", value=parsed.shown, reason="images by http are switched off")
        if self._http.reach and self._http.reach.refuses_literal(parsed.host):
            reason = f"{parsed.host} is an address that this service does not fetch from (image_http_networks)"
            raise errors.InvalidInput(field="imageRef", value=parsed.shown, reason=reason)
        return self._http

    def _permitted(self, reference: str) -> Path:
        try:
            path = Path(urlsplit(reference).path if reference[:5].lower() == "file:" else reference)
            resolved = path.resolve()
        except (ValueError, OSError, RuntimeError) as error:  # not a URL, or a symbolic link that leads to itself
            raise errors.InvalidInput(
                field="imageRef", value=reference[:80], reason=f"no such path: {error}"
            ) from error
        allowed = [folder for folder in self._allowed if resolved.is_relative_to(folder)]
        kept = [folder for folder in self._kept if resolved.is_relative_to(folder)]
        if allowed and any(not any(folder.is_relative_to(own) for folder in allowed) for own in kept):
            raise errors.InvalidInput(field="imageRef", value=reference, reason="the service keeps its own files there")
        if not allowed:
            raise errors.InvalidInput(
                field="imageRef", value=reference, reason="this path is not below one that the administrator allowed"
            )
        return resolved

    def _open_path(self, path: Path, how: How) -> OpenImage:
        return self._open_file(_open_path(path), path, None, how)

    def _open_file(self, fd: int, path: Path, image: Image | None, how: How) -> OpenImage:
        """Open the image of a file descriptor, and close the descriptor. path: beside which its checksums lie."""
        name = image.name if image else path.name
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise errors.BadImage(image=name, reason="it is not a regular file")
            how = replace(how, declared=_declared(image, path))
            mark = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, how.disk]
            facts, source = opening.open_file(fd, name, how)
            facts = replace(facts, virtual_size=source.size)  # an old VHD is as large as its geometry says
            wanted = beside(path)
            check = Check(wanted, reader(fd), status.st_size, name)
            version = of_file(image.id if image else str(path), status, how.disk, wanted, _shown(image))
            return OpenImage(
                facts, source, _digest(mark), name, image.id if image else None, check, version, path.as_uri()
            )
        finally:
            os.close(fd)

    def _open_http(self, reference: str, how: How) -> OpenImage:
        file, facts, opened = opening.open_http(reference, how, self._check_url(reference))
        check = Check(None, file.pread, file.size or 0, file.name)
        return OpenImage(facts, opened, _digest(file.mark()), file.name, None, check)


def _open_path(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise errors.NotFound(resource="Image", id=path.name) from error


def _shown(image: Image | None) -> list[str]:
    """What a volume shows of an image of the folder, and how the image is read."""
    return [image.name, image.disk_format] if image else []


def is_path(reference: str) -> bool:
    return reference.startswith("/") or reference[:5].lower() == "file:"


def _declared(image: Image | None, path: Path) -> str | None:
    """The format in an index. A name declares no format: files dropped in may be called anything."""
    if image is None or (path.suffix != ".data" and image.disk_format == "raw"):
        return None
    return image.disk_format or None


def _digest(mark: Sequence[object]) -> bytes:
    return hashlib.sha256(json.dumps(mark).encode()).digest()
