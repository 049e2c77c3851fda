"""Records of backups: what the store keeps beside one, and what goes to another installation.

A record says where a backup is; its bytes stay in the store, which the other installation has to reach, with the same
key where it is sealed. Records are exchanged by administrators, and are read as coming from anybody.
"""

import base64
import json
from datetime import datetime
from typing import Any

from nbdsvc import errors
from nbdsvc.backup_store.keys import MARK_BYTES
from nbdsvc.model import names
from nbdsvc.model.entities import Backup, Volume
from nbdsvc.model.values import MAX_INTEGER, check_text

# The name by which a record says what reads it; Cinder has the name of its backup driver here.
SERVICE = "nbdsvc"
_VERSION = 1
_TEXTS = {"id": 36, "volume_id": 36, "space": 64, "store_id": 64, "key_mark": 32}
_OPTIONAL = {"snapshot_id": 36, "parent_id": 36, "name": 255, "description": 65535, "container": 255}
# A record has names, a description and metadata, and no more.
_LONGEST = 1 << 20


def describe(row: Backup) -> dict[str, Any]:
    """What the manifest says of its backup: as a record, for an installation that has lost its database."""
    found = {name: getattr(row, name) for name in (*_TEXTS, *_OPTIONAL, "size", "project_id", "metadata")}
    taken = row.data_timestamp.isoformat() if row.data_timestamp else None
    return {"version": _VERSION, **found, "data_timestamp": taken, "created_at": row.created_at.isoformat()}


def describe_volume(volume: Volume) -> dict[str, Any]:
    """What a manifest says of the volume itself: what a new volume of its bytes has, too."""
    return {"volume": {"bootable": volume.bootable, "image_metadata": volume.image_metadata}}


def volume_changes(description: dict[str, Any]) -> dict[str, Any]:
    """The columns of a new volume by a manifest's description, which may be another installation's: what is none of ours is
    left out.
    """
    found = description.get("volume")
    try:
        check_text(found, "volume")
    except errors.InvalidInput:
        return {}
    if not isinstance(found, dict) or not _are_pairs(found.get("image_metadata")):
        return {}
    return {"bootable": found.get("bootable") is True, "image_metadata": found["image_metadata"]}


def _are_pairs(found: Any) -> bool:
    return isinstance(found, dict) and all(
        isinstance(each, str) and len(each) <= 255 and "\0" not in each for pair in found.items() for each in pair
    )


def encode(row: Backup) -> str:
    """The `backup_url` of a record: JSON in Base64, as in Cinder."""
    content = {**describe(row), "object_count": row.object_count}
    return base64.b64encode(json.dumps(content, sort_keys=True).encode()).decode()


def decode(text: str) -> dict[str, Any]:
    """The fields of a backup's row in a record. Raises InvalidInput for the field `backup_url`."""
    try:
        if len(text) > _LONGEST:
            raise ValueError
        found = json.loads(base64.b64decode(text, validate=True))
        check_text(found, "backup_url")
        version = found["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _refused("it is no record of a backup") from None
    if version != _VERSION:
        raise _refused(f"it has version {str(version)[:20]}, and this service knows {_VERSION}")
    for name, longest in _TEXTS.items():
        _check(isinstance(found.get(name), str) and len(found[name]) <= longest, name)
    for name, longest in _OPTIONAL.items():
        value = found.get(name)
        _check(value is None or (isinstance(value, str) and len(value) <= longest), name)
    return _fields(found)


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    size, count, pairs = found.get("size"), found.get("object_count", 0), found.get("metadata")
    _check(names.is_id(found["id"]), "id")
    _check(_is_hexadecimal(found["space"]) and len(found["space"]) == 32, "space")
    _check(_is_hexadecimal(found["key_mark"]) and len(found["key_mark"]) in (0, 2 * MARK_BYTES), "key_mark")
    _check(type(size) is int and 0 < size <= MAX_INTEGER, "size")
    _check(type(count) is int and 0 <= count <= MAX_INTEGER, "object_count")
    _check(_are_pairs(pairs), "metadata")
    known = {name: found.get(name) for name in (*_TEXTS, *_OPTIONAL, "size", "metadata")}
    return {**known, "object_count": count, "data_timestamp": _moment(found.get("data_timestamp"))}


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text is not None else None
    except (ValueError, TypeError):
        raise _refused("its data_timestamp is wrong") from None
    _check(found is None or found.tzinfo is None, "data_timestamp")
    return found


def _is_hexadecimal(text: str) -> bool:
    return all(each in "0123456789abcdef" for each in text)


def _check(good: bool, name: str) -> None:
    if not good:
        raise _refused(f"its {name} is wrong")


def _refused(reason: str) -> errors.InvalidInput:
    return errors.InvalidInput(field="backup_url", value=None, reason=reason)
