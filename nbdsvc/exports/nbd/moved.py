"""The record of a volume that has moved under its export: `<exports>/<attachment id>.moved`, with both locations.

An export's spec says where its volume was when the server started. The server that moves it, with its clients connected,
writes this record in the moment of the switch; from then on every reader of the spec takes the second location for the first.
It stands beside the export's folder, not in it, because an attachment may be deleted before the migration has seen that its
volume has moved.
"""

import json
import os
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file

_Noted = dict[str, Any]


def record(folder: Path, source: _Noted, destination: _Noted) -> None:
    """Record, durably, that the volume at `source` is at `destination` now. folder: of the export. OSError: it is not."""
    path = _path(folder)
    try:
        atomic_file.write(path, json.dumps({"from": source, "to": destination}).encode())
    except BaseException:
        forget(folder)  # where only its durability failed
        raise


def is_recorded(folder: Path) -> bool:
    """Whether there is a record, of any move."""
    return os.path.lexists(_path(folder))


def location_of(folder: Path, noted: _Noted) -> _Noted:
    """Where the volume is whose export's spec says `noted`. ValueError for a damaged record: it is at neither for certain."""
    found = destination_of(folder, noted)
    return noted if found is None else found


def destination_of(folder: Path, source: _Noted) -> _Noted | None:
    """Where the volume from `source` has moved to; None where it has not. ValueError for a damaged record."""
    try:
        found = json.loads(_path(folder).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(found, dict) or not {"from", "to"} <= set(found):
        raise ValueError("the record of a move is damaged")
    return dict(found["to"]) if found["from"] == source else None


def forget(folder: Path) -> None:
    """Remove the record: every reader of the source's location knows of the move."""
    atomic_file.remove(_path(folder))


def _path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.moved")
