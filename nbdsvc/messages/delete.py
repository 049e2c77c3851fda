"""Delete a user message."""

from nbdsvc.app import App
from nbdsvc.messages.read import find_failed
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal


def delete_message(app: App, context: Context, id: str) -> None:
    """Delete the message and the failed operation that it is read from. Raises NotFound."""
    with app.change() as conn:
        journal.rows.delete(conn, find_failed(conn, context, id).id)
