"""Lists: limit, offset, marker, sort and filters of a query string, and the link to the next page."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.api.request import MAX_INTEGER, Asked
from nbdsvc.store.rows import Page

# Columns that clients know under another name.
_ALIASES = {"display_name": "name", "image_id": "image_id"}
# What lists are filtered by, by table.
FILTERS: dict[str, tuple[str, ...]] = {
    "volumes": ("id", "name", "status", "size", "bootable", "availability_zone", "snapshot_id", "source_volid",
                "multiattach", "migration_status", "replication_status", "volume_type_id", "user_id", "description"),
    "snapshots": ("id", "name", "status", "volume_id", "description"),
    "attachments": ("id", "status", "volume_id", "instance_uuid", "attached_host"),
    "operations": ("id", "kind", "state", "resource_id", "resource_type", "request_id"),
}  # fmt: skip
_LIKE_SINCE = (3, 34)
_NOT_FILTERS = frozenset({"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count"})


def page(
    asked: Asked,
    sortable: Iterable[str],
    default: str = "created_at:desc",
    last: tuple[str, bool] | None = ("id", True),
) -> Page:
    """Which part the client wants; InvalidInput names the parameter that is wrong. `last`: what decides between equals."""
    most = asked.app.settings.max_limit
    limit = _number(asked, "limit")
    return Page(
        limit=most if limit is None else min(limit, most),
        offset=_number(asked, "offset") or 0,
        marker=asked.query.get("marker") or None,
        sort=_sort(asked, set(sortable), default, last),
    )


def next_link(asked: Asked, noun: str, path: str, wanted: Page, rows: list[Any]) -> dict[str, Any]:
    """`volumes_links` when the page is full, so that there may be more."""
    if not rows or wanted.limit is None or len(rows) < wanted.limit:
        return {}
    query = {key: value for key, value in asked.query.items() if key not in ("marker", "offset")}
    href = asked.link("v3", asked.context.project_id, path) + "?" + urlencode({**query, "marker": rows[-1].id})
    return {f"{noun}_links": [{"rel": "next", "href": href}]}


def filters(asked: Asked, table: sa.Table) -> list[Any]:
    """Conditions for the filters that are given; one that nobody knows is ignored, as the field does for users.

    From microversion 3.34 `name~=part` asks for values that contain the part.
    """
    found: list[Any] = []
    for key, value in asked.query.items():
        like = key.endswith("~") and asked.version >= _LIKE_SINCE
        name = _ALIASES.get(key.rstrip("~"), key.rstrip("~")) if like else _ALIASES.get(key, key)
        if key in _NOT_FILTERS or name not in FILTERS[table.name]:
            continue
        column = table.c[name]
        found.append(column.contains(value, autoescape=True) if like else column == _typed(key, value, column.type))
    return found


def _typed(name: str, value: str, kind: Any) -> Any:
    if isinstance(kind, sa.Boolean):
        from nbdsvc.api.request import boolean

        return boolean(name, value)
    if isinstance(kind, sa.Integer):
        if not value.isdigit() or int(value) > MAX_INTEGER:
            raise errors.InvalidInput(field=name, value=value[:80], reason="must be a whole number")
        return int(value)
    return value


def _number(asked: Asked, name: str) -> int | None:
    given = asked.query.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()) or int(given[:20]) > MAX_INTEGER:
        raise errors.InvalidInput(field=name, value=given[:80], reason="must be a whole number, 0 or more")
    return int(given)


def _sort(
    asked: Asked, sortable: set[str], default: str, last: tuple[str, bool] | None
) -> tuple[tuple[str, bool], ...]:
    given = asked.query.get("sort")
    if given is None and "sort_key" in asked.query:
        given = f"{asked.query['sort_key']}:{asked.query.get('sort_dir', 'desc')}"
    wanted: list[tuple[str, bool]] = []
    for part in (given or default).split(","):
        key, _, direction = part.strip().partition(":")
        name = _ALIASES.get(key, key)
        if name not in sortable or direction not in ("", "asc", "desc"):
            raise errors.InvalidInput(
                field="sort", value=part[:80], reason=f"must be one of {', '.join(sorted(sortable))}"
            )
        wanted.append((name, direction != "asc"))
    return (*wanted, last) if last and last[0] not in dict(wanted) else tuple(wanted)
