"""Read group snapshots: one, or a page of a project's."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.groups import CG_TYPE_ID, GroupSnapshot
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import group_tables, groups
from nbdsvc.store.listing import list_rows

_only_consistency_groups = group_tables.group_snapshots.c.group_type_id == CG_TYPE_ID


def get_group_snapshot(app: App, context: Context, id: str) -> GroupSnapshot:
    """The group snapshot; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return groups.group_snapshots.get(conn, id, owner_scope(context))


def list_group_snapshots(
    app: App,
    context: Context,
    filters: Sequence[Filter],
    page: Page,
    *,
    all_tenants: bool = False,
    consistency_groups: bool = False,
) -> list[GroupSnapshot]:
    """A page of the project's group snapshots; with `all_tenants`, for an administrator, of every project's.
    consistency_groups: only those of the older API.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    where = (_only_consistency_groups,) if consistency_groups else ()
    return list_rows(app.database, groups.group_snapshots, scope(context, all_tenants), filters, page, *where)
