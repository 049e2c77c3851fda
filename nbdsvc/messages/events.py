"""Cinder's numbers of events, which name what failed (cinder/message/message_field.py)."""

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nbdsvc.model.listing import Filter
from nbdsvc.model.operation import Operation
from nbdsvc.store import tables

_RESOURCE_TYPES = {"volume": "VOLUME", "snapshot": "VOLUME_SNAPSHOT", "backup": "VOLUME_BACKUP"}
# Cinder's number for the scheduler is 001.
_ACTIONS = {
    "volume.create": "001",
    "attachment.connect": "002",
    "volume.upload": "003",
    "volume.upload_to_glance": "003",
    "volume.reimage": "005",
    "volume.extend": "007",
    "snapshot.create": "010",
    "snapshot.delete": "011",
    "backup.create": "013",
    "backup.delete": "014",
    "backup.restore": "015",
}
_OTHER_ACTION = "000"
_COLUMNS = {"resource_uuid": "resource_id"}


def resource_type(operation: Operation) -> str:
    """Cinder's name for the operation's resource, such as VOLUME."""
    return _RESOURCE_TYPES.get(operation.resource_type, operation.resource_type.upper())


def event_id(operation: Operation) -> str:
    """The event_id of the failed operation, such as VOLUME_VOLUME_001_001."""
    return f"VOLUME_{resource_type(operation)}_{_ACTIONS.get(operation.kind, _OTHER_ACTION)}_001"


def conditions(filters: Sequence[Filter]) -> list[Any]:
    """The conditions that an operation must meet for its message to match all filters."""
    return [_condition(each.name, each.value) for each in filters]


def _condition(name: str, value: str) -> Any:
    columns = tables.operations.c
    if name == "message_level":
        return sa.true() if value == "ERROR" else sa.false()
    if name == "event_id":
        return _has_event(value)
    if name == "resource_type":
        return columns.resource_type == {theirs: own for own, theirs in _RESOURCE_TYPES.items()}.get(
            value, value.lower()
        )
    return columns[_COLUMNS.get(name, name)] == value


def _has_event(event: str) -> Any:
    found = re.fullmatch(r"VOLUME_([A-Z_]+)_([0-9]{3})_001", event)
    if not found:
        return sa.false()
    column = tables.operations.c.kind
    kinds = [kind for kind, number in _ACTIONS.items() if number == found[2]]
    matches = column.in_(kinds) if found[2] != _OTHER_ACTION else column.not_in(_ACTIONS)
    return sa.and_(matches, _condition("resource_type", found[1]))
