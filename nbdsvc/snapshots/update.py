"""Change what a snapshot is called."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.store import repositories


def update_snapshot(app: App, context: Context, id: str, **changes: object) -> Snapshot:
    """Change name or description. Raises NotFound."""
    with app.change() as conn:
        repositories.snapshots.get(conn, id, owner_scope(context))
        repositories.snapshots.update(conn, id, **changes)
        return repositories.snapshots.get(conn, id)
