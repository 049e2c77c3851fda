"""Force the status of a backup."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories


def reset_backup_status(app: App, context: Context, id: str, status: str) -> None:
    """Force the status (os-reset_status), whatever it is.

    Raises InvalidInput for a status that cannot be forced, Conflict while an operation works on the backup, NotFound.
    """
    if status not in states.BACKUP_RESET:
        allowed = ", ".join(sorted(states.BACKUP_RESET))
        raise errors.InvalidInput(field="status", value=status[:80], reason=f"must be one of {allowed}")
    with app.change() as conn:
        repositories.backups.get_for_update(conn, id, owner_scope(context))  # no operation may begin meanwhile
        if journal.busy(conn, id):
            raise errors.Conflict(reason=f"an operation on backup {id} is under way; cancel it instead")
        repositories.backups.force_status(conn, id, status)
