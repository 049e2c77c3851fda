"""Change what a snapshot is called."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.store import nouns


def update_snapshot(app: App, context: Context, id: str, **changes: object) -> Snapshot:
    """Change name or description. Raises NotFound."""
    with app.change() as conn:
        nouns.snapshots.get(conn, id, owner_scope(context))
        nouns.snapshots.update(conn, id, **changes)
        return nouns.snapshots.get(conn, id)
