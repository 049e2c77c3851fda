"""What lists are filtered by. Before microversion 3.31 an unknown filter is ignored, from it on refused by name."""

import ast
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.paging import ALIASES
from nbdsvc.api.request import Asked, boolean, whole_number
from nbdsvc.store import nouns, tables

# By table: columns, or names in ALIASES of columns.
FILTERS: dict[str, tuple[str, ...]] = {
    "volumes": ("id", "name", "status", "size", "bootable", "availability_zone", "snapshot_id", "source_volid", "host",
                "multiattach", "migration_status", "replication_status", "volume_type_id", "user_id", "description",
                "project_id", "metadata", "glance_metadata", "group_id", "consistencygroup_id"),
    "snapshots": ("id", "name", "status", "volume_id", "description", "user_id", "project_id", "metadata",
                  "availability_zone"),
    "attachments": ("id", "status", "volume_id", "instance_uuid", "instance_id", "attach_status", "attached_host",
                    "project_id"),
    "operations": ("id", "kind", "state", "resource_id", "resource_type", "request_id", "project_id"),
    "messages": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level", "project_id"),
    "pools": ("name", "volume_type"),
}  # fmt: skip
# Only an administrator sees where things are.
_ADMIN_ONLY = frozenset({"host", "attached_host"})
# Filters that came later, by table.
_SINCE = {("volumes", "glance_metadata"): (3, 4), ("volumes", "group_id"): (3, 10), ("snapshots", "metadata"): (3, 22)}
# JSON columns.
_PAIRS = {"metadata": "metadata", "glance_metadata": "image_metadata"}
# Nothing is in a group yet, so that no row matches.
_NEVER = frozenset({"group_id", "consistencygroup_id"})
_LIKE_SINCE = (3, 34)
_STRICT_SINCE = (3, 31)
_NOT_FILTERS = frozenset(
    {"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "detail"}
)


def conditions(asked: Asked, table: sa.Table) -> list[Any]:
    """SQL conditions for the filters of the query string.

    From microversion 3.34 `name~=part` asks for values that contain the part.
    """
    found: list[Any] = []
    for name, value, like in known(asked, table.name):
        found += _condition(asked, table, name, value, like=like)
    return found


def known(asked: Asked, table: str) -> list[tuple[str, str, bool]]:
    """(column's name, value, whether a part of it is enough) of each filter that is known at this version."""
    found, unknown = [], []
    for key, value in asked.query.multi_items():
        like = key.endswith("~") and asked.version >= _LIKE_SINCE
        given = key[:-1] if like else key
        name = ALIASES.get(given, given)
        if key in _NOT_FILTERS:
            continue
        if _is_known(asked, table, given) or _is_known(asked, table, name):
            found.append((name, value, like))
        else:
            unknown.append(key)
    if unknown and asked.version >= _STRICT_SINCE:
        reason = f"Invalid filters {','.join(unknown)[:200]} are found in query options."
        raise errors.InvalidInput(field="query", value=unknown[0][:80], reason=reason)
    return found


def _is_known(asked: Asked, table: str, name: str) -> bool:
    if name in _ADMIN_ONLY and not asked.context.is_admin:
        return False
    return name in FILTERS[table] and asked.version >= _SINCE.get((table, name), (3, 0))


def _condition(asked: Asked, table: sa.Table, name: str, value: str, *, like: bool) -> list[Any]:
    if name in _NEVER:
        return [sa.false()]
    if name in _PAIRS:
        return nouns.metadata_is(asked.app.database, table.c[_PAIRS[name]], _pairs(name, value))
    if name == "availability_zone" and table is tables.snapshots:
        return [_zone(value)]
    column = nouns.full_host() if (name, table) == ("host", tables.volumes) else table.c[name]
    if like and isinstance(column.type, sa.String):
        return [column.contains(value, autoescape=True)]
    return [column == _typed(name, value, column.type)]


def _zone(value: str) -> Any:
    """A snapshot is in its volume's zone."""
    volumes = tables.volumes.c
    return tables.snapshots.c.volume_id.in_(sa.select(volumes.id).where(volumes.availability_zone == value))


def _typed(name: str, value: str, kind: Any) -> Any:
    if isinstance(kind, sa.Boolean):
        return boolean(name, value)
    return whole_number(name, value) if isinstance(kind, sa.Integer) else value


def _pairs(name: str, text: str) -> dict[str, str]:
    """{'key': 'value'} as clients put it into the query: Python's or JSON's spelling."""
    try:
        found = {str(key): str(value) for key, value in ast.literal_eval(text).items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        raise errors.InvalidInput(field=name, value=text[:80], reason="must be an object of strings") from None
    strict.check_text(found, name)
    return found
