"""Cancel an operation: it stops at its next check and undoes its steps."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal


def cancel_operation(app: App, context: Context, id: str) -> None:
    """Request the end of a pending or running operation. Raises NotFound; InvalidState when it has ended."""
    with app.change() as conn:
        journal.rows.get(conn, id, owner_scope(context))
        app.operations.cancel(conn, id)
    app.operations.cancelled(id)
