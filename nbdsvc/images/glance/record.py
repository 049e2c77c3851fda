"""An image as Glance describes it. Pure: the JSON of GET /v2/images/{id} in, a judged record out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdsvc import errors
from nbdsvc.images.checksum import Checksum
from nbdsvc.units import GiB, to_gib

# Glance's disk formats that are read here, and what they declare the bytes to be. A CD image is the disk itself.
DISK_FORMATS = {
    "raw": "raw",
    "iso": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
# The stronger one first; Glance's `checksum` is MD5.
_DIGITS = {"sha512": 128, "sha384": 96, "sha256": 64, "md5": 32}
# Attributes of every image; all others are properties.
BASE = frozenset(
    "id name status visibility protected os_hidden tags self file schema direct_url locations owner size virtual_size "
    "created_at updated_at checksum os_hash_algo os_hash_value disk_format container_format min_disk min_ram stores".split()
)
# Characters of a key and of a value, as of every metadata here; and how many are kept of one image.
_TEXT_MAX, _MOST_PROPERTIES = 255, 128
_ENCRYPTED = "cinder_encryption_key_id"


@dataclass(frozen=True)
class Record:
    """size: bytes, None while there are none; min_disk: GiB. locations: URLs, only where Glance shows them."""

    id: str
    name: str
    status: str
    owner: str
    visibility: str
    disk_format: str
    container_format: str
    size: int | None
    min_disk: int
    min_ram: int
    protected: bool
    checksum: Checksum | None
    md5: str
    properties: dict[str, str] = field(default_factory=dict)
    locations: tuple[str, ...] = ()

    @property
    def declared(self) -> str:
        """What its bytes are declared to be, one of inspection.ACCEPTED."""
        return "ova" if self.container_format == "ova" else DISK_FORMATS[self.disk_format]

    def metadata(self) -> dict[str, str]:
        """What a volume keeps of it (volume_image_metadata), under Cinder's names."""
        base = {
            "image_id": self.id,
            "image_name": self.name,
            "disk_format": self.disk_format,
            "container_format": self.container_format,
            "size": str(self.size),
            "min_disk": str(self.min_disk),
            "min_ram": str(self.min_ram),
            "checksum": self.md5,
        }
        return {**self.properties, **{key: value for key, value in base.items() if value}}

    def check(self, size: int | None = None) -> None:
        """InvalidInput (field imageRef) where no volume can be made of it, or not one of `size` GiB."""
        for wrong, reason in (
            (self.status == "deactivated", "it is deactivated"),
            (self.status != "active", f"its status is {self.status[:40]}, not active"),
            (_ENCRYPTED in self.properties, "it is encrypted"),
            (self.container_format not in ("bare", "ova"), f"its container_format is {self.container_format}"),
            (self.disk_format not in DISK_FORMATS, f"its disk_format is {self.disk_format}, which is not read"),
            (
                size is not None and self.min_disk > size,
                f"its min_disk is {self.min_disk} GiB, and the volume has {size}",
            ),
            (
                size is not None and (self.size or 0) > size * GiB,
                f"it has {to_gib(self.size or 0)} GiB, and the volume has {size}",
            ),
        ):
            if wrong:
                raise errors.InvalidInput(
                    field="imageRef", value=self.id, reason=f"this image cannot be used: {reason}"
                )


def parse(content: Any, id: str) -> Record:
    """The record. ValueError where this is none, or one of another image."""
    if not isinstance(content, dict) or content.get("id") != id:
        raise ValueError("its answer is not the record of this image")
    size = content.get("size")
    return Record(
        id=id,
        name=_text(content, "name"),
        status=_text(content, "status"),
        owner=_text(content, "owner"),
        visibility=_text(content, "visibility"),
        disk_format=_text(content, "disk_format", "none"),
        container_format=_text(content, "container_format", "none"),
        size=None if size is None else _count(content, "size"),
        min_disk=_count(content, "min_disk"),
        min_ram=_count(content, "min_ram"),
        protected=content.get("protected") is True,
        checksum=_checksum(content),
        md5=_text(content, "checksum"),
        properties=_properties(content),
        locations=_locations(content),
    )


def _text(content: Mapping[str, Any], key: str, default: str = "") -> str:
    """A field, cut, and without what breaks terminals."""
    found = content.get(key) or default
    if not isinstance(found, str):
        raise ValueError(f"in its record of this image, {key} is no text")
    return "".join(each if each.isprintable() else "?" for each in found[:_TEXT_MAX])


def _count(content: Mapping[str, Any], key: str) -> int:
    found = content.get(key) or 0
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 60:
        raise ValueError(f"in its record of this image, {key} is no number of it")
    return found


def _checksum(content: Mapping[str, Any]) -> Checksum | None:
    """The digest that Glance made of the bytes; None for an image that has none, such as one of a location."""
    for algorithm, digest in (
        (content.get("os_hash_algo"), content.get("os_hash_value")),
        ("md5", content.get("checksum")),
    ):
        text = str(digest or "").lower()
        if (
            isinstance(algorithm, str)
            and algorithm in _DIGITS
            and re.fullmatch(f"[0-9a-f]{{{_DIGITS[algorithm]}}}", text)
        ):
            return Checksum(algorithm, text)
    return None


def _properties(content: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the image besides; without what Glance keeps for itself, and without what is too long."""
    found = {
        key: value
        for key, value in content.items()
        if key not in BASE and not key.startswith("os_glance_") and isinstance(value, str)
        if 0 < len(key) <= _TEXT_MAX and len(value) <= _TEXT_MAX and key.isprintable() and value.isprintable()
    }
    return dict(sorted(found.items())[:_MOST_PROPERTIES])


def _locations(content: Mapping[str, Any]) -> tuple[str, ...]:
    listed = content.get("locations")
    urls = [each.get("url") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return tuple(url for url in (*urls, content.get("direct_url")) if isinstance(url, str))
