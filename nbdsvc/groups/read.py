"""Read groups: one, a page of a project's, and the names and volumes shown with them."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.groups import CG_TYPE_ID, Group
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import group_tables, groups
from nbdsvc.store.listing import list_rows

_only_consistency_groups = group_tables.groups.c.group_type_id == CG_TYPE_ID


def get_group(app: App, context: Context, id: str) -> Group:
    """The group; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return groups.groups.get(conn, id, owner_scope(context))


def list_groups(
    app: App,
    context: Context,
    filters: Sequence[Filter],
    page: Page,
    *,
    all_tenants: bool = False,
    consistency_groups: bool = False,
) -> list[Group]:
    """A page of the project's groups; with `all_tenants`, for an administrator, of every project's. consistency_groups: only
    those of the older API.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    where = (_only_consistency_groups,) if consistency_groups else ()
    return list_rows(app.database, groups.groups, scope(context, all_tenants), filters, page, *where)


def volumes_in(app: App, rows: Sequence[Group]) -> dict[str, list[str]]:
    """The ids of the volumes of each of these groups, by its id."""
    with app.database.read() as conn:
        return groups.volume_ids_of(conn, [row.id for row in rows])
