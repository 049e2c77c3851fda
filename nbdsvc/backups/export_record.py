"""Export the record of a backup, for another installation."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backups import records
from nbdsvc.model.context import Context
from nbdsvc.store import repositories


def export_record(app: App, context: Context, id: str) -> tuple[str, str]:
    """The service that reads the record, and the record. Raises NotFound, and InvalidState for one that is not whole."""
    with app.database.read() as conn:
        row = repositories.backups.get(conn, id, owner_scope(context))
    if row.status != "available":
        allowed = ["available"]
        raise errors.InvalidState(resource="Backup", id=id, action="be exported", status=row.status, allowed=allowed)
    return records.SERVICE, records.encode(row)
