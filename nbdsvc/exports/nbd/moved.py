"""The record of a volume that has moved under its export: `<exports>/<attachment id>.moved`, with both locations.

An export's spec has the volume's location at the server's start. A server that moves its volume, with clients
connected, writes this record at the switch; from then on, every reader of the spec replaces the first location by the
second. The record is beside the export's folder and not in it, because an attachment may be deleted before the
migration has seen that the volume has moved.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file

_Noted = dict[str, Any]
_SUFFIX = ".moved"


def record(folder: Path, source: _Noted, destination: _Noted) -> None:
    """Record durably that the volume has moved from `source` to `destination`. folder: the export's. Raises OSError."""
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
    """The present location of a volume whose export's spec has `noted`. ValueError for a damaged record."""
    found = destination_of(folder, noted)
    return noted if found is None else found


def destination_of(folder: Path, source: _Noted) -> _Noted | None:
    """The location to which the volume has moved from `source`; None if it has not. ValueError for a damaged record."""
    try:
        found_source, there = _read(_path(folder))
    except FileNotFoundError:
        return None
    return there if found_source == source else None


def records(exports: Path) -> dict[str, tuple[_Noted, _Noted]]:
    """The records in the folder of all exports, by the export's id, without those that are damaged: (source, destination)."""
    found: dict[str, tuple[_Noted, _Noted]] = {}
    for path in exports.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError, ValueError):
            found[path.stem] = _read(path)
    return found


def _read(path: Path) -> tuple[_Noted, _Noted]:
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict) or not {"from", "to"} <= set(found):
        raise ValueError("the record of a move is damaged")
    return dict(found["from"]), dict(found["to"])


def forget(folder: Path) -> None:
    """Remove the record, when no note has the source's location any more."""
    atomic_file.remove(_path(folder))


def _path(folder: Path) -> Path:
    return folder.with_name(folder.name + _SUFFIX)
