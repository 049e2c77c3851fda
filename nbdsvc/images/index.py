"""The index of an image: its attributes and its project. Pure: the bytes of an index in, an Image out.

An index is `<id>.json` of the image folder. Any other file there is foreign, and its content is not used.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nbdsvc.model.context import Context

# The words of Glance. `shared`: its own project and its members.
VISIBILITIES = ("private", "shared", "community", "public")
SAVING, ACTIVE = "saving", "active"
# Of what an index says. One of another version is passed over, because it may mean that fewer projects may use the image.
VERSION = 1


@dataclass(frozen=True)
class Image:
    """An image. status: saving or active. Sizes in bytes; `owner` is the operation that makes it.

    disk_format: what its bytes are declared to be; empty: nothing is declared, so the content decides.
    project_id: empty for one that an administrator put into the folder. file: the name of its data there, in no index.
    """

    id: str
    name: str
    disk_format: str = ""
    status: str = ACTIVE
    container_format: str = "bare"
    size: int = 0
    virtual_size: int = 0
    owner: str = ""
    project_id: str = ""
    visibility: str = "private"
    protected: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    """Projects that may use it while it is `shared`."""
    file: str = ""

    @property
    def is_public(self) -> bool:
        """Whether every project may use it: public images, and those of no project."""
        return not self.project_id or self.visibility == "public"

    @property
    def is_dropped(self) -> bool:
        """Whether the image is a plain file that an administrator put into the folder, without an index."""
        return bool(self.file) and self.file != f"{self.id}.data"

    def belongs_to(self, context: Context) -> bool:
        """Whether the image is one of the request's project; False for an image of no project."""
        return bool(self.project_id) and self.project_id == context.project_id

    def is_shared_with(self, context: Context) -> bool:
        """Whether the image is another project's that shares it with the request's."""
        return self.visibility == "shared" and context.project_id in self.members

    def reachable(self, context: Context) -> bool:
        """Whether this request may use it by its id; by its name, and in lists, community images are not shown."""
        return context.is_admin or self.visibility == "community" or self.listed(context)

    def listed(self, context: Context) -> bool:
        """Whether it is in the list of this request's project. What another project shares is not found by its name, which
        would be in the way of an image of that name.
        """
        return self.is_public or self.belongs_to(context) or self.is_shared_with(context)


_UNTYPED = ("id", "name", "properties", "members")
_TYPES: dict[str, type] = {f.name: type(f.default) for f in fields(Image) if f.name not in _UNTYPED}
_TYPES |= {"id": str, "name": str, "properties": dict, "members": list}


def parse(content: bytes, id: str) -> Image | None:
    """The image of `<id>.json`; None for what is no index of that image. Fields of newer versions are passed over."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("id") != id or found.get("version", VERSION) != VERSION:
        return None
    known = {key: value for key, value in found.items() if key in _TYPES and key != "file"}
    if not {"id", "name"} <= set(known) or not all(_fits(key, value) for key, value in known.items()):
        return None
    if known.get("visibility", "private") not in VISIBILITIES:
        known["visibility"] = "private"
    return replace(Image(**known), file=f"{id}.data")


def unparse(image: Image) -> bytes:
    """The content of `<id>.json` for this image."""
    kept = {key: value for key, value in asdict(image).items() if key != "file"}
    return json.dumps({"version": VERSION, **kept}).encode()


def _fits(key: str, value: Any) -> bool:
    """Exactly the type, so that true is no size; a size is not negative, and text can be written as UTF-8."""
    if type(value) is not _TYPES[key]:
        return False
    if isinstance(value, dict):
        return all(_is_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(_is_text(part) for part in value)
    return value >= 0 if isinstance(value, int) else _is_text(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()
