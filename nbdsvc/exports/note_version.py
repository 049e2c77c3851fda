"""The version of what exporters note on disk. Notes without one are from before there were versions: 0."""

from collections.abc import Mapping
from typing import Any

from nbdsvc import errors

VERSION = 1


def check_version(export_id: str, note: Mapping[str, Any]) -> int:
    """The note's version. ExportFailed for that of a newer service: half understood, it would be exported wrongly."""
    version = int(note.get("version", 0))
    if version > VERSION:
        reason = f"its note has version {version}, and this service reads up to {VERSION}"
        raise errors.ExportFailed(export=export_id, reason=reason)
    return version
