"""A page of groups or of group snapshots: consistency groups and their snapshots are rows of both."""

from collections.abc import Sequence

from nbdsvc.app import App, scope
from nbdsvc.model.context import Context
from nbdsvc.model.groups import CG_TYPE_ID
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store.listing import list_rows
from nbdsvc.store.repository import R, Repository


def list_page(
    rows: Repository[R],
    app: App,
    context: Context,
    filters: Sequence[Filter],
    page: Page,
    *,
    all_tenants: bool = False,
    consistency_groups: bool = False,
) -> list[R]:
    """A page of the project's rows; with `all_tenants`, for an administrator, of every project's. consistency_groups: only
    those of the older API.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    where = (rows.table.c.group_type_id == CG_TYPE_ID,) if consistency_groups else ()
    return list_rows(app.database, rows, scope(context, all_tenants), filters, page, *where)
