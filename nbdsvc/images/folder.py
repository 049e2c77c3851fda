"""The local image folder: one JSON file an image beside its data, and plain files that an administrator dropped in.

    <images>/<id>.json   what is known of it; <images>/<id>.data   its bytes

An image appears when its JSON says `active`, which is written last.
"""

import contextlib
import json
import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from nbdsvc import errors
from nbdsvc.model import names

# For images that are plain files: the same name gives the same id on every host and after every restart.
_NAMESPACE = uuid.UUID("6f0d0c1e-6b1e-5c55-9a57-0a4f7c3c2e11")
_SUFFIXES = {
    ".qcow2": "qcow2",
    ".raw": "raw",
    ".img": "raw",
    ".vmdk": "vmdk",
    ".vhd": "vpc",
    ".vhdx": "vhdx",
    ".vdi": "vdi",
    ".ova": "ova",
}


@dataclass(frozen=True)
class Image:
    """One image. status: saving or active. Sizes in bytes; `owner` is the operation that makes it."""

    id: str
    name: str
    disk_format: str
    status: str = "active"
    container_format: str = "bare"
    size: int = 0
    virtual_size: int = 0
    owner: str = ""
    project_id: str = ""
    properties: dict[str, str] = field(default_factory=dict)


class ImageFolder:
    """The images of this host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> "list[Image]":
        """Those that are whole. Files may come and go at any time: it is a folder that people use."""
        found = []
        for path in sorted(self._folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix == ".json":
                    found.append(self._read(path))
                elif path.suffix in _SUFFIXES:
                    found.append(self._dropped(path))
        return [image for image in found if image.status == "active"]

    def get(self, id_or_name: str) -> Image:
        """By id, else by name; NotFound, or Conflict when several have the name."""
        images = self.list()
        found = [i for i in images if i.id == id_or_name] or [i for i in images if i.name == id_or_name]
        if not found:
            raise errors.NotFound(resource="Image", id=id_or_name)
        if len(found) > 1:
            raise errors.Conflict(reason=f"{len(found)} images are called {id_or_name}: use the id")
        return found[0]

    def path(self, image: Image) -> Path:
        indexed = self._folder / f"{image.id}.data"
        return indexed if indexed.exists() else self._folder / image.name

    def begin(self, image: Image) -> Path:
        """The path to write a new image's bytes to. Repeated by the same owner: the same path, its bytes gone."""
        if not names.is_id(image.id):
            raise errors.InvalidInput(field="image.id", value=image.id, reason="must be a UUID")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(replace(image, status="saving"))
        path = self._folder / f"{image.id}.data"
        path.unlink(missing_ok=True)
        return path

    def commit(self, image: Image) -> Image:
        """Its bytes are complete: make it visible."""
        path = self._folder / f"{image.id}.data"
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        done = replace(image, status="active", size=path.stat().st_size)
        self._write(done)
        return done

    def remove(self, id: str, owner: str | None = None) -> None:
        """Remove an indexed image; with `owner`, only one that this operation made."""
        index = self._folder / f"{id}.json"
        if not names.is_id(id) or not index.exists() or (owner is not None and self._read(index).owner != owner):
            return
        (self._folder / f"{id}.data").unlink(missing_ok=True)
        index.unlink()

    def _read(self, path: Path) -> Image:
        return Image(**json.loads(path.read_text()))

    def _write(self, image: Image) -> None:
        temporary = self._folder / f"{image.id}.new"
        with temporary.open("w") as file:
            json.dump(asdict(image), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / f"{image.id}.json")

    def _dropped(self, path: Path) -> Image:
        id = str(uuid.uuid5(_NAMESPACE, path.name))
        return Image(id=id, name=path.name, disk_format=_SUFFIXES[path.suffix], size=path.stat().st_size)
