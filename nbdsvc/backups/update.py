"""Change what a backup is called, or its metadata."""

from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Backup
from nbdsvc.store import repositories


def update_backup(app: App, context: Context, id: str, **changes: object) -> Backup:
    """Change name, description or metadata. Raises NotFound."""
    with app.change() as conn:
        repositories.backups.get_for_update(conn, id, owner_scope(context))
        repositories.backups.update(conn, id, **changes)
        return repositories.backups.get(conn, id)
