"""The format of exporters' notes on disk: the version, and the location of the volume.

Version 2 has `location` (nbdsvc/location.py); earlier notes have the `path` of a file or block device. Notes without a
version have version 0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from nbdsvc import errors
from nbdsvc.location import Location

VERSION = 2
_FIRST_WITH_LOCATION = 2


def check_version(export_id: str, note: Mapping[str, Any]) -> int:
    """The note's version. Raises ExportFailed for that of a newer service, which this one could export wrongly."""
    version = _version(note)
    if version > VERSION:
        reason = f"its note has version {version}, and this service reads up to {VERSION}"
        raise errors.ExportFailed(export=export_id, reason=reason)
    return version


def is_whole(note: object) -> TypeGuard[dict[str, Any]]:
    """Whether the note is an object with a version and a location; a note of a newer version always passes.

    The path's status is not read, because its storage may hang.
    """
    if not isinstance(note, dict) or not isinstance(note.get("version", 0), int):
        return False
    try:
        return _version(note) > VERSION or bool(_written(note))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def noted_location(note: Mapping[str, Any]) -> Location:
    """The location of a whole note. For an older note, the path's status tells whether it is a block device; a path
    that does not exist counts as a file.
    """
    found = _written(note)
    is_device = _has_path(note) and found.path.is_block_device()
    return Location.block(found.path) if is_device else found


def is_at(note: Mapping[str, Any], location: Location) -> bool:
    """Whether a whole note has this location. For an older note only the path counts, because a device that is gone
    would count as a file.
    """
    found = _written(note)
    return found == location or (_has_path(note) and Location.block(found.path) == location)


def _written(note: Mapping[str, Any]) -> Location:
    """The note's location; the path of an older note counts as a file.

    Raises AttributeError, KeyError, TypeError or ValueError for a damaged note.
    """
    return Location.file(Path(note["path"])) if _has_path(note) else Location.from_json(note["location"])


def _has_path(note: Mapping[str, Any]) -> bool:
    return _version(note) < _FIRST_WITH_LOCATION


def _version(note: Mapping[str, Any]) -> int:
    return int(note.get("version", 0))
