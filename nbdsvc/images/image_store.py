"""The local image folder: one JSON file an image beside its data, and plain files that an administrator dropped in.

    <images>/<id>.json   what is known of it; <images>/<id>.data   its bytes

An image appears when its JSON says `active`, which is written last. People use this folder: whatever else is in it, of
whatever kind, is passed over, and nothing in it is opened because of what a file says.
"""

import contextlib
import os
import stat
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from nbdsvc import atomic_file, errors
from nbdsvc.images.index import ACTIVE, SAVING, Image, parse, unparse
from nbdsvc.model import names
from nbdsvc.model.context import ANONYMOUS, Context

__all__ = ["Image", "ImageFolder"]

log = structlog.get_logger(__name__)

# For images that are plain files: the same name gives the same id on every host and after every restart.
_NAMESPACE = uuid.UUID("6f0d0c1e-6b1e-5c55-9a57-0a4f7c3c2e11")
# A suffix that names one format declares it. `.img` names none: distributions call raw and qcow2 files so.
_SUFFIXES = {
    ".qcow2": "qcow2",
    ".raw": "raw",
    ".img": "",
    ".vmdk": "vmdk",
    ".vhd": "vpc",
    ".vhdx": "vhdx",
    ".vdi": "vdi",
    ".ova": "ova",
}
# An index of ours has some hundred bytes, and its properties a few thousand.
_INDEX_MAX = 64 << 10
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: to open a pipe must not block


class ImageFolder:
    """The images of this host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[object, Image | None]] = {}
        self._beginning = threading.Lock()

    def list(self) -> "list[Image]":
        """Complete images. Files may come and go at any time: people use the folder too."""
        return [image for image in self.every() if image.status == ACTIVE]

    def every(self) -> Sequence[Image]:
        """All images, also incomplete ones."""
        with self._opened() as folder:
            listed = sorted(os.listdir(folder)) if folder >= 0 else []  # noqa: PTH208 - of a descriptor
            found = {name: self._look(folder, name) for name in listed}
        self._seen = {name: seen for name, seen in found.items() if seen}
        return [seen[1] for seen in self._seen.values() if seen[1]]

    def get(self, id_or_name: str, context: Context = ANONYMOUS) -> Image:
        """An image by id, else by name: the project's own before public ones. NotFound also for one that is not visible.

        Conflict when the name is not enough, by what this request may see only.
        """
        images = self.list()
        for image in images:
            if image.id == id_or_name and image.reachable(context):
                return image
        named = [image for image in images if image.name == id_or_name]
        found = [image for image in named if image.belongs_to(context)] or [i for i in named if i.is_public]
        if not found:
            raise errors.NotFound(resource="Image", id=id_or_name)
        if len(found) > 1:
            raise errors.Conflict(reason=f"{len(found)} images are called {id_or_name}: use the id")
        return found[0]

    def open(self, image: Image) -> int:
        """A descriptor of its data; NotFound when that is gone, or no regular file any more."""
        try:
            with self._opened() as folder:
                status, follow = _status(folder, image.file)
                if not stat.S_ISREG(status.st_mode) or (follow and not image.is_dropped):
                    raise errors.NotFound(resource="Image", id=image.id)
                fd = os.open(image.file, _READ | (0 if follow else os.O_NOFOLLOW), dir_fd=folder)
        except OSError as error:
            raise errors.NotFound(resource="Image", id=image.id) from error
        return fd

    def path(self, image: Image) -> Path:
        """The path of the image's data, beside which its checksums lie. Only `open` opens it."""
        return self._folder / image.file

    def begin(self, image: Image, limits: tuple[int, int] = (-1, -1)) -> Path:
        """The path to write a new image's bytes to. Repeated by the same owner: the same path, its bytes gone.

        limits: how many images, and bytes of images, its project may have with it (-1: any), else QuotaExceeded.
        """
        if not names.is_id(image.id):
            raise errors.InvalidInput(field="image.id", value=image.id, reason="must be a UUID")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{image.id}.data"
        with self._beginning:
            check_limits(limits, self.usage(image.project_id, image.id), image.virtual_size)
            self._write(replace(image, status=SAVING))
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return path

    def usage(self, project_id: str, *without: str) -> tuple[int, int]:
        """(images, bytes) of the project; an image that is being made counts with all that it may become."""
        found = [image for image in self.every() if image.project_id == project_id and image.id not in without]
        return len(found), sum(image.size if image.status == ACTIVE else image.virtual_size for image in found)

    def commit(self, image: Image) -> Image:
        """Make a complete image visible."""
        fd = os.open(self._folder / f"{image.id}.data", _READ | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
            done = replace(image, status=ACTIVE, size=os.fstat(fd).st_size)
        finally:
            os.close(fd)
        self._write(done)
        return done

    def change(self, id: str, **changes: Any) -> Image:
        """Change what the index of an image says, at once or not at all. NotFound for one that has gone meanwhile."""
        with self._beginning:
            image = next((each for each in self.every() if each.id == id and not each.is_dropped), None)
            if image is None:
                raise errors.NotFound(resource="Image", id=id)
            changed = replace(image, **changes)
            self._write(changed)
        return changed

    def remove(self, id: str, owner: str | None = None) -> None:
        """Remove an indexed image; with `owner`, only one that this operation made. Who has it open reads on."""
        if not names.is_id(id):
            return
        with self._opened() as folder:
            known = parse(_read(folder, f"{id}.json"), id) if folder >= 0 else None
        if known and owner is not None and known.owner != owner:
            return
        with self._beginning:  # else a change of the image would write its index again
            # The index first: an image without its data would be a broken one.
            atomic_file.remove(self._folder / f"{id}.json")
            (self._folder / f"{id}.data").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder's descriptor; -1 while there is no folder."""
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield -1
            return
        try:
            yield fd
        finally:
            os.close(fd)

    def _look(self, folder: int, name: str) -> tuple[object, Image | None] | None:
        """(mark, image) of one name; read anew only where the mark is another than at the last look. None: no image."""
        stem, suffix = Path(name).stem, Path(name).suffix
        indexed = suffix == ".json" and names.is_id(stem)
        if not indexed and (suffix not in _SUFFIXES or not name.isprintable()):
            return None
        try:
            statuses = _status(folder, name), _data(folder, stem) if indexed else None
        except OSError:
            return None
        mark = _mark(statuses[0][0]), statuses[1] and _mark(statuses[1])
        last = self._seen.get(name)
        if last and last[0] == mark:
            return last
        return mark, _indexed(folder, stem, statuses[1]) if indexed else _dropped(name, suffix, *statuses[0])

    def _write(self, image: Image) -> None:
        """InvalidInput for an index that could not be read back: its image would be in no list and in no quota."""
        content = unparse(image)
        if len(content) > _INDEX_MAX or parse(content, image.id) is None:
            reason = "its name and members must be printable, and not so long together"
            raise errors.InvalidInput(field="image", value=image.id, reason=reason)
        atomic_file.write(self._folder / f"{image.id}.json", content)


def check_limits(limits: tuple[int, int], used: tuple[int, int], size: int) -> None:
    """QuotaExceeded where one more image of `size` bytes passes a limit. limits, used: (images, bytes); -1 is no limit."""
    for resource, limit, had, more, unit in zip(
        ("images", "image_gigabytes"), limits, used, (1, size), (1, 1 << 30), strict=True
    ):
        if 0 <= limit < had + more:
            facts = {"limit": limit // unit, "used": -(-had // unit), "requested": -(-more // unit)}
            raise errors.QuotaExceeded(resource=resource, **facts)


def _status(folder: int, name: str) -> tuple[os.stat_result, bool]:
    """(what the name is, whether by a link). A link counts where the administrator or the service made it."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return status, False
    return os.stat(name, dir_fd=folder), True


def _data(folder: int, id: str) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(f"{id}.data", dir_fd=folder, follow_symlinks=False)
    return None


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def _indexed(folder: int, id: str, data: os.stat_result | None) -> Image | None:
    image = parse(_read(folder, f"{id}.json"), id)
    if image is None or image.status == SAVING:
        return image
    if data is None or not stat.S_ISREG(data.st_mode):
        log.warning("an image has lost its data and is passed over", image=id)
        return None
    return replace(image, size=data.st_size)


def _read(folder: int, name: str) -> bytes:
    """The beginning of a regular file; empty for anything else, and for what may not be read."""
    try:
        fd = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(fd, _INDEX_MAX) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def _dropped(name: str, suffix: str, status: os.stat_result, _link: bool) -> Image | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    id = str(uuid.uuid5(_NAMESPACE, name))
    return Image(id=id, name=name, disk_format=_SUFFIXES[suffix], size=status.st_size, file=name)
