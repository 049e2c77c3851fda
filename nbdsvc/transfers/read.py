"""Read transfers: those that a project has offered."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Transfer
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import repositories
from nbdsvc.store.listing import list_rows


def get_transfer(app: App, context: Context, id: str) -> Transfer:
    """The transfer; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.transfers.get(conn, id, owner_scope(context))


def list_transfers(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Transfer]:
    """A page of what the project has offered, with `all_tenants`, for an administrator, every project.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    return list_rows(app.database, repositories.transfers, scope(context, all_tenants), filters, page)
