"""Read attachments: one, or a page of a project's."""

from collections.abc import Sequence

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import repositories
from nbdsvc.store.listing import list_rows


def get_attachment(app: App, context: Context, id: str) -> Attachment:
    """The attachment with its export's secret; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.attachments.get(conn, id, owner_scope(context))


def list_attachments(
    app: App, context: Context, filters: Sequence[Filter], page: Page, *, all_tenants: bool = False
) -> list[Attachment]:
    """A page of the project's attachments; with `all_tenants`, for an administrator, of every project's.

    Raises InvalidInput for a filter's value, NotFound for the marker.
    """
    return list_rows(app.database, repositories.attachments, scope(context, all_tenants), filters, page)
