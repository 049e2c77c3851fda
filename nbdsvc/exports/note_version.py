"""The format of what exporters note on disk: its version, and where a note says that the volume is.

Version 2 has `location` (nbdsvc/location.py); before it notes had the `path` of a file or block device. Notes without a
version are from before there were versions: 0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from nbdsvc import errors
from nbdsvc.location import Location

VERSION = 2
_FIRST_WITH_LOCATION = 2


def check_version(export_id: str, note: Mapping[str, Any]) -> int:
    """The note's version. ExportFailed for that of a newer service: half understood, it would be exported wrongly."""
    version = _version(note)
    if version > VERSION:
        reason = f"its note has version {version}, and this service reads up to {VERSION}"
        raise errors.ExportFailed(export=export_id, reason=reason)
    return version


def is_whole(note: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is an object with a version and a location, as far as this service can tell: it judges no note of a newer
    one. It looks at no path, which could be on a storage that hangs.
    """
    if not isinstance(note, dict) or not isinstance(note.get("version", 0), int):
        return False
    try:
        return _version(note) > VERSION or bool(_written(note))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def noted_location(note: Mapping[str, Any]) -> Location:
    """The location of a whole note. A look at the path tells whether that of an older one is a block device; one that is
    away counts as a file.
    """
    found = _written(note)
    is_device = _has_path(note) and found.path.is_block_device()
    return Location.block(found.path) if is_device else found


def is_at(note: Mapping[str, Any], location: Location) -> bool:
    """Whether a whole note has this location. Of an older one the path decides alone: its device may be away, and would
    count as a file.
    """
    found = _written(note)
    return found == location or (_has_path(note) and Location.block(found.path) == location)


def _written(note: Mapping[str, Any]) -> Location:
    """The path of an older note as a file. AttributeError, KeyError, TypeError or ValueError for a damaged one."""
    return Location.file(Path(note["path"])) if _has_path(note) else Location.from_json(note["location"])


def _has_path(note: Mapping[str, Any]) -> bool:
    return _version(note) < _FIRST_WITH_LOCATION


def _version(note: Mapping[str, Any]) -> int:
    return int(note.get("version", 0))
