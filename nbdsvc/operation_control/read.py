"""Read operations: one, or a page of a project's."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.listing import Filter, Page
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store.listing import list_rows


def get_operation(app: App, context: Context, id: str) -> Operation:
    """The operation of the caller's project; for an administrator, of any project. Raises NotFound."""
    with app.database.read() as conn:
        return journal.rows.get(conn, id, owner_scope(context))


def list_operations(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Operation]:
    """A page of the project's unfinished and recently ended operations; of all projects with an admin's `all_tenants`.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    return list_rows(app.database, journal.rows, scope(context, all_tenants), filters, page)
