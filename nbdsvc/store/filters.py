"""A list's filters as conditions of SQL."""

import ast
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.listing import Filter
from nbdsvc.model.values import boolean, check_text, whole_number
from nbdsvc.store import repositories, tables
from nbdsvc.store.database import Database

# JSON columns by the filter's name.
_PAIRS = {"metadata": "metadata", "glance_metadata": "image_metadata"}
# There are no groups yet, so that no row matches.
_NEVER = frozenset({"group_id", "consistencygroup_id"})


def conditions(database: Database, table: sa.Table, filters: Sequence[Filter]) -> list[Any]:
    """The conditions that a row must meet to match all filters. Raises InvalidInput for a value of the wrong type."""
    return [condition for each in filters for condition in _of(database, table, each)]


def _of(database: Database, table: sa.Table, wanted: Filter) -> list[Any]:
    name, value = wanted.name, wanted.value
    if name in _NEVER:
        return [sa.false()]
    if name in _PAIRS:
        return repositories.metadata_is(database, table.c[_PAIRS[name]], _pairs(name, value))
    if name == "availability_zone" and table is tables.snapshots:
        return [_zone_of_volume(value)]
    column = repositories.full_host() if (name, table) == ("host", tables.volumes) else table.c[name]
    if wanted.partial and isinstance(column.type, sa.String):
        return [column.contains(value, autoescape=True)]
    return [column == _typed(name, value, column.type)]


def _zone_of_volume(value: str) -> Any:
    """A snapshot is in its volume's zone."""
    volumes = tables.volumes.c
    return tables.snapshots.c.volume_id.in_(sa.select(volumes.id).where(volumes.availability_zone == value))


def _typed(name: str, value: str, column_type: Any) -> Any:
    if isinstance(column_type, sa.Boolean):
        return boolean(name, value)
    return whole_number(name, value) if isinstance(column_type, sa.Integer) else value


def _pairs(name: str, text: str) -> dict[str, str]:
    """{'key': 'value'} as clients put it into the query: Python's or JSON's spelling."""
    try:
        found = {str(key): str(value) for key, value in ast.literal_eval(text).items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        raise errors.InvalidInput(field=name, value=text[:80], reason="must be an object of strings") from None
    check_text(found, name)
    return found
