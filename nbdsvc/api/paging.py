"""Lists: limit, offset, marker and sort of a query string, and the link to the next page."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlencode

from nbdsvc import errors
from nbdsvc.api import steps
from nbdsvc.api.request import ApiRequest
from nbdsvc.model.listing import Page
from nbdsvc.model.values import whole_number

T = TypeVar("T")

# Names under which clients know these columns.
ALIASES = {"display_name": "name", "display_description": "description", "tenant_id": "project_id",
           "instance_id": "instance_uuid", "attach_status": "status"}  # fmt: skip
# The columns of what clients know as one value, host@backend#pool.
_COLUMNS = {"host": ("host", "backend", "pool")}


def page(
    request: ApiRequest,
    sortable: Iterable[str],
    default: str = "created_at:desc",
    last: tuple[str, bool] | None = ("id", True),
) -> Page:
    """The part of the list that the query string names. Raises InvalidInput with the parameter that is wrong.

    sortable: columns that a client may sort by. last: the column that decides between equals.
    """
    most = request.app.settings.max_limit
    limit = _number(request, "limit")
    return Page(
        limit=most if limit is None else min(limit, most),
        offset=_number(request, "offset") or 0,
        marker=request.query.get("marker") or None,
        sort=_sort(request, set(sortable), default, last),
    )


def next_link(request: ApiRequest, noun: str, path: str, wanted: Page, rows: list[Any]) -> dict[str, Any]:
    """`volumes_links` when the page is full, so that there may be more."""
    if not rows or wanted.limit is None or len(rows) < wanted.limit:
        return {}
    query = [(key, value) for key, value in request.query.multi_items() if key not in ("marker", "offset")]
    href = request.link("v3", request.context.project_id, path) + "?" + urlencode([*query, ("marker", rows[-1].id)])
    return {f"{noun}_links": [{"rel": "next", "href": href}]}


def count(request: ApiRequest, number: Callable[[], int]) -> dict[str, int]:
    """`count`, from 3.45 and where `with_count` is true: the rows of all pages. Raises InvalidInput."""
    wanted = request.version >= steps.COUNT and request.flag("with_count")
    return {"count": number()} if wanted else {}


def cut(rows: list[T], wanted: Page, noun: str) -> list[T]:
    """The page of rows that are in memory already; NotFound for a marker that is none of them."""
    for name, down in reversed(wanted.sort):
        rows = sorted(rows, key=lambda row: (getattr(row, name) is not None, getattr(row, name)), reverse=down)
    if wanted.marker is not None:
        ids = [getattr(row, "id", None) for row in rows]
        if wanted.marker not in ids:
            raise errors.NotFound(resource=noun, id=wanted.marker)
        rows = rows[ids.index(wanted.marker) + 1 :]
    return rows[wanted.offset :][: wanted.limit]


def _number(request: ApiRequest, name: str) -> int | None:
    given = request.query.get(name)
    return None if given is None else whole_number(name, given)


def _sort(
    request: ApiRequest, sortable: set[str], default: str, last: tuple[str, bool] | None
) -> tuple[tuple[str, bool], ...]:
    given = request.query.get("sort")
    if given is None and "sort_key" in request.query:
        given = f"{request.query['sort_key']}:{request.query.get('sort_dir', 'desc')}"
    wanted: dict[str, bool] = {}
    for part in (given or default).split(","):
        key, _, direction = (word.strip() for word in part.partition(":"))
        name = ALIASES.get(key, key)
        if name not in sortable or direction not in ("", "asc", "desc"):
            raise errors.InvalidInput(
                field="sort",
                value=part[:80],
                reason=f"must be one of {', '.join(sorted(sortable))}, with :asc or :desc",
            )
        for column in _COLUMNS.get(name, (name,)):
            wanted.setdefault(column, direction != "asc")
    if last:
        wanted.setdefault(*last)
    return tuple(wanted.items())
