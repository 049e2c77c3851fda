"""Limit how fast an operation copies."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal


def limit_rate(app: App, context: Context, id: str, rate: int) -> None:
    """Let an unfinished operation copy at most `rate` bytes a second, 0 for no limit. Raises NotFound, InvalidState."""
    with app.database.write() as conn:
        journal.rows.get(conn, id, owner_scope(context))
        app.operations.limit(conn, id, rate)
