"""Read one page of a table's rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from nbdsvc.model.listing import Filter, Page
from nbdsvc.store.database import Database
from nbdsvc.store.filters import conditions
from nbdsvc.store.repository import Repository

R = TypeVar("R", bound=Any)


def list_rows(
    database: Database,
    rows: Repository[R],
    project_id: str | None,
    filters: Sequence[Filter] = (),
    page: Page | None = None,
    *where: Any,
) -> list[R]:
    """The rows of a project (None: of every project) that match all filters and conditions, or one page of them.

    Raises InvalidInput for a filter's value, NotFound where the page's marker is no row of the project.
    """
    of_project = replace(page, marker_project=project_id) if page else None
    with database.read() as conn:
        own = _of_project(rows, project_id)
        return rows.select(conn, *own, *conditions(database, rows.table, filters), *where, page=of_project)


def count_rows(database: Database, rows: Repository[R], project_id: str | None, filters: Sequence[Filter] = ()) -> int:
    """The number of rows that `list_rows` would return without a page. Raises InvalidInput for a filter's value."""
    with database.read() as conn:
        return rows.count(conn, *_of_project(rows, project_id), *conditions(database, rows.table, filters))


def _of_project(rows: Repository[R], project_id: str | None) -> list[Any]:
    return [rows.table.c.project_id == project_id] if project_id is not None else []
