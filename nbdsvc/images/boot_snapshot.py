"""Images without bytes, which Nova makes of instances that boot from a volume: they name the root volume's snapshot."""

import json
from typing import Any

from nbdsvc.images.index import Image
from nbdsvc.model import names

# The property of such an image: a JSON list with an entry for each volume of the instance.
_PROPERTY = "block_device_mapping"


def boot_snapshot(image: Image) -> str | None:
    """The id of the snapshot of the root volume; None for an image that has bytes of its own, or names no snapshot."""
    if image.size:
        return None
    for entry in _entries(image.properties.get(_PROPERTY, "")):
        if entry.get("source_type") == "snapshot" and _is_root(entry.get("boot_index")):
            id = entry.get("snapshot_id")
            return id if isinstance(id, str) and names.is_id(id) else None
    return None


def _is_root(index: Any) -> bool:
    return index in (0, "0") and not isinstance(index, bool)


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
