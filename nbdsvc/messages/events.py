"""Cinder's numbers of events, which name what failed (cinder/message/message_field.py)."""

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nbdsvc.model.listing import Filter
from nbdsvc.model.operation import Operation
from nbdsvc.store import tables

_RESOURCE_TYPES = {"volume": "VOLUME", "snapshot": "VOLUME_SNAPSHOT", "backup": "VOLUME_BACKUP"}
# Cinder's numbers of actions, by the kind of the operation.
ACTIONS = {
    "attachment.connect": "002",
    "volume.upload": "003",
    "attachment.delete": "004",
    "attachment.terminate": "004",
    "attachment.repair": "004",
    "volume.detach_all": "004",
    "volume.unmanage": "006",
    "volume.upload_to_glance": "003",
    "volume.extend": "007",
    "volume.create": "008",
    "snapshot.create": "009",
    "snapshot.delete": "010",
    "backup.create": "013",
    "backup.delete": "014",
    "backup.restore": "015",
    "volume.reimage": "016",
}
# Kinds for which Cinder has no number: their messages have that of an unknown action.
UNNUMBERED = frozenset(
    """volume.accept_transfer volume.delete volume.manage volume.promote_replica volume.reenable_replication volume.migrate
    volume.migrate_in_cluster volume.migrate_in_use volume.migrate_between_hosts volume.retype volume.retype_between_hosts
    volume.revert volume.verify volume.finish_move snapshot.manage snapshot.unmanage group.create group.create_from_source
    group.update group.delete group.replicate group_snapshot.create group_snapshot.delete backup.import backup.verify
    backup.collect backend.freeze backend.thaw backend.failover host.list_manageable host.set_log host.get_log
    host.explain host.limit_exports image.import volume.migrate_in_use_between_hosts""".split()
)
_OTHER_ACTION = "000"
# Cinder's numbers of details. What the error says counts first, then what the operation was to do.
_UNKNOWN = "001"
_DETAILS = {
    "BackendUnavailable": "002",
    "DatabaseUnavailable": "002",
    "NoValidBackend": "003",
    "NoRoom": "003",
    "QuotaExceeded": "006",
}
# (kind of the operation, kind of the error)
_DETAILS_OF_KINDS = {
    ("volume.create", "BadImage"): "029",
    ("volume.reimage", "BadImage"): "029",
    ("snapshot.delete", "DeviceBusy"): "015",
    ("backup.create", "InvalidState"): "017",
    ("backup.delete", "InvalidState"): "017",
    ("backup.restore", "InvalidState"): "017",
    ("volume.extend", "InvalidState"): "027",
    ("volume.upload", "InvalidState"): "027",
    ("volume.upload_to_glance", "InvalidState"): "027",
}
_OTHER_DETAILS = {
    "volume.upload": "004",
    "volume.upload_to_glance": "004",
    "volume.extend": "010",
    "volume.create": "012",
    "snapshot.create": "013",
    "snapshot.delete": "016",
    "backup.create": "020",
    "attachment.connect": "021",
    "attachment.delete": "022",
    "attachment.terminate": "022",
    "volume.detach_all": "022",
    "backup.delete": "025",
    "backup.restore": "026",
    "volume.reimage": "028",
}
_COLUMNS = {"resource_uuid": "resource_id"}


def resource_type(operation: Operation) -> str:
    """Cinder's name for the operation's resource, such as VOLUME."""
    return _RESOURCE_TYPES.get(operation.resource_type, operation.resource_type.upper())


def event_id(operation: Operation) -> str:
    """The event_id of the failed operation, VOLUME_RESOURCE_ACTION_DETAIL, such as VOLUME_VOLUME_008_012."""
    action = ACTIONS.get(operation.kind, _OTHER_ACTION)
    detail = _detail(operation.kind, str((operation.error or {}).get("kind")))
    return f"VOLUME_{resource_type(operation)}_{action}_{detail}"


def _detail(kind: str, error: str) -> str:
    return _DETAILS_OF_KINDS.get((kind, error)) or _DETAILS.get(error) or _OTHER_DETAILS.get(kind, _UNKNOWN)


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
    found = re.fullmatch(r"VOLUME_([A-Z_]+)_([0-9]{3})_([0-9]{3})", event)
    if not found:
        return sa.false()
    resource, action, detail = found.groups()
    column = tables.operations.c.kind
    kinds = [kind for kind, number in ACTIONS.items() if number == action]
    matching = [sa.and_(column == kind, _has_detail(kind, detail)) for kind in kinds]
    if action == _OTHER_ACTION:
        matching = [sa.and_(column.not_in(ACTIONS), _has_detail("", detail))]
    return sa.and_(sa.or_(sa.false(), *matching), _condition("resource_type", resource))


def _has_detail(kind: str, detail: str) -> Any:
    """Whether the error of an operation of this kind has this number: as `_detail`, in SQL."""
    column = tables.operations.c.error["kind"].as_string()
    known = {error: _detail(kind, error) for error in (*_DETAILS, *(error for _, error in _DETAILS_OF_KINDS))}
    having = column.in_([error for error, number in known.items() if number == detail])
    if detail != _OTHER_DETAILS.get(kind, _UNKNOWN):
        return having
    return sa.or_(having, column.not_in(known))
