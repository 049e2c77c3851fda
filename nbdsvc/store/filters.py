"""A list's filters as conditions of SQL."""

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.groups import CG_TYPE_ID
from nbdsvc.model.listing import Filter
from nbdsvc.model.values import boolean, pairs, whole_number
from nbdsvc.store import group_tables, repositories, tables
from nbdsvc.store.database import Database

# JSON columns by the filter's name.
_PAIRS = {"metadata": "metadata", "glance_metadata": "image_metadata"}
_TIMES = frozenset({"created_at", "updated_at"})
# A comparison without an operator, as `created_at=TIME`, is refused: clients write `eq:`.
_COMPARISONS: dict[str, Callable[[Any, datetime], Any]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le, "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip
_groups = group_tables.groups.c
_consistency_groups = sa.select(_groups.id).where(_groups.group_type_id == CG_TYPE_ID)
_of_volumes = tables.volumes.c.group_id
# Filters that are no column. Every row counts against its project's quota.
_CONDITIONS: dict[str, Callable[[str], Any]] = {
    "consistencygroup_id": lambda value: sa.and_(_of_volumes == value, _of_volumes.in_(_consistency_groups)),
    "consumes_quota": lambda value: sa.true() if boolean("consumes_quota", value) else sa.false(),
}


def conditions(database: Database, table: sa.Table, filters: Sequence[Filter]) -> list[Any]:
    """The conditions that a row must meet to match all filters. Raises InvalidInput for a value of the wrong type."""
    return [condition for each in filters for condition in _of(database, table, each)]


def _of(database: Database, table: sa.Table, wanted: Filter) -> list[Any]:
    name, value = wanted.name, wanted.value
    if name in _PAIRS:
        return repositories.metadata_is(database, table.c[_PAIRS[name]], pairs(name, value))
    if name in _TIMES:
        return [_comparison(name, part)(table.c[name]) for part in value.split(",")]
    if name in _CONDITIONS:
        return [_CONDITIONS[name](value)]
    if name == "availability_zone" and table is tables.snapshots:
        return [_zone_of_volume(value)]
    column = repositories.full_host() if (name, table) == ("host", tables.volumes) else table.c[name]
    if wanted.partial and isinstance(column.type, sa.String):
        return [column.contains(value, autoescape=True)]
    return [column == _typed(name, value, column.type)]


def _comparison(name: str, text: str) -> Callable[[Any], Any]:
    """`gt:2026-01-02T03:04:05+01:00` as a condition of a column, in UTC where it names no offset."""
    word, mark, time = text.strip().partition(":")
    if not mark or word not in _COMPARISONS:
        reason = f"must be OPERATOR:TIME, with an operator of {', '.join(_COMPARISONS)}"
        raise errors.InvalidInput(field=name, value=text[:80], reason=reason)
    try:
        # A + of a query string that was not escaped is a space.
        found = datetime.fromisoformat(time.replace(" ", "+") if "T" in time else time)
        moment = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        raise errors.InvalidInput(field=name, value=text[:80], reason="must have a time of ISO 8601") from None
    return lambda column: _COMPARISONS[word](column, moment)


def _zone_of_volume(value: str) -> Any:
    """A snapshot is in its volume's zone."""
    volumes = tables.volumes.c
    return tables.snapshots.c.volume_id.in_(sa.select(volumes.id).where(volumes.availability_zone == value))


def _typed(name: str, value: str, column_type: Any) -> Any:
    if isinstance(column_type, sa.Boolean):
        return boolean(name, value)
    return whole_number(name, value) if isinstance(column_type, sa.Integer) else value
