"""Change what a snapshot is called."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot
from nbdsvc.store import backends, repositories


def update_snapshot(app: App, context: Context, id: str, **changes: object) -> Snapshot:
    """Change name or description. Raises NotFound, Frozen."""
    with app.change() as conn:
        snapshot = repositories.snapshots.get_for_update(conn, id, owner_scope(context))
        backends.check_not_frozen(conn, repositories.volumes.get(conn, snapshot.volume_id).full_host)
        repositories.snapshots.update(conn, id, **changes)
        return repositories.snapshots.get(conn, id)
