"""Reads the disks of an appliance from its OVF descriptor. Source: DMTF DSP0243 (OVF 2.1), sections 7 and 9.

The descriptor is not trusted: a document type, and so every entity of its own, is refused; its length is bounded.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from nbdsvc import errors

# Bytes. Descriptors have some ten thousand; their texts of many languages some hundred thousand.
LENGTH_MAX = 4 << 20
_DEPTH_MAX = 100


@dataclass(frozen=True)
class Disk:
    """A disk with content. id: as the descriptor calls it; file: its name in the container; refusal: why not, if not."""

    id: str
    file: str
    refusal: str = ""


class _Reader:
    """Collects the files of References and the disks of DiskSection while the parser goes on."""

    def __init__(self, name: str) -> None:
        self.files: dict[str, dict[str, str]] = {}
        self.disks: list[dict[str, str]] = []
        self._name = name
        self._path: list[str] = []

    def begin(self, element: str, attributes: dict[str, str]) -> None:
        self._path.append(_local(element))
        if len(self._path) > _DEPTH_MAX:
            raise errors.BadImage(image=self._name, reason="its descriptor is nested too deep")
        facts = {_local(key): value for key, value in attributes.items()}
        if self._path[-2:] == ["References", "File"]:
            self.files[facts.get("id", "")] = facts
        elif self._path[-2:] == ["DiskSection", "Disk"]:
            self.disks.append(facts)

    def end(self, _element: str) -> None:
        self._path.pop()

    def refuse(self, *_: Any) -> None:
        raise errors.BadImage(image=self._name, reason="its descriptor has a document type, which no OVF needs")


def disks(content: bytes, name: str) -> list[Disk]:
    """The disks that have a file, in the descriptor's order; BadImage for what is no descriptor. name: of the container."""
    from xml.parsers import expat  # here, because few services ever read an OVF, and the library is loaded for good

    reader, parser = _Reader(name), expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise errors.BadImage(image=name, reason=f"its descriptor is no XML: {error}") from None
    return [_disk(disk, reader.files, name) for disk in reader.disks if "fileRef" in disk]


def _disk(disk: dict[str, str], files: dict[str, dict[str, str]], name: str) -> Disk:
    file = files.get(disk["fileRef"])
    if file is None or not file.get("href"):
        raise errors.BadImage(image=name, reason=f"its descriptor has no file for the disk {disk.get('diskId', '')!r}")
    return Disk(disk.get("diskId", ""), unquote(file["href"]).removeprefix("./"), _refusal(disk, file))


def _refusal(disk: dict[str, str], file: dict[str, str]) -> str:
    for wrong, reason in (
        (file.get("compression", "identity") != "identity", f"is compressed with {file.get('compression')}: unpack it"),
        ("chunkSize" in file, "is split into chunks: join them first"),
        ("parentRef" in disk, "has a parent"),
        ("://" in file["href"], "is not in the appliance, but elsewhere"),
    ):
        if wrong:
            return reason
    return ""


def _local(name: str) -> str:
    """The name without its namespace: versions of OVF differ in that only."""
    return name.rpartition(" ")[2]
