"""Read backups: one, or a page of a project's, and which of them others build on."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Backup
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import backups, repositories
from nbdsvc.store.listing import count_rows, list_rows


def get_backup(app: App, context: Context, id: str) -> Backup:
    """The backup; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.backups.get(conn, id, owner_scope(context))


def list_backups(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Backup]:
    """A page of the project's backups; with `all_tenants`, for an administrator, of every project's.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    return list_rows(app.database, repositories.backups, scope(context, all_tenants), filters, page)


def count_backups(app: App, context: Context, filters: Sequence[Filter] = (), *, all_tenants: bool = False) -> int:
    """The number of backups on all pages of `list_backups`. Raises InvalidInput for a filter's value."""
    return count_rows(app.database, repositories.backups, scope(context, all_tenants), filters)


def with_dependents(app: App, rows: Sequence[Backup]) -> frozenset[str]:
    """The ids of those on which other backups build. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        return backups.with_dependents(conn, [row.id for row in rows])
