"""Read snapshots: one, or a page of a project's."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import repositories
from nbdsvc.store.listing import count_rows, list_rows


def get_snapshot(app: App, context: Context, id: str) -> Snapshot:
    """The snapshot; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.snapshots.get(conn, id, owner_scope(context))


def list_snapshots(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Snapshot]:
    """A page of the project's snapshots; with `all_tenants`, for an administrator, of every project's.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    return list_rows(app.database, repositories.snapshots, scope(context, all_tenants), filters, page)


def count_snapshots(app: App, context: Context, filters: Sequence[Filter], *, all_tenants: bool = False) -> int:
    """The number of snapshots on all pages of `list_snapshots`. Raises InvalidInput for a filter's value."""
    return count_rows(app.database, repositories.snapshots, scope(context, all_tenants), filters)
