"""Force the status of a volume (os-reset_status)."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.attachments.detach_all import submit_detach_all
from nbdsvc.model.context import Context
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories


def reset_status(app: App, context: Context, id: str, changes: dict[str, str]) -> None:
    """Set status, migration_status and attach_status as `changes` has them, whatever they are now.

    attach_status `detached` ends every attachment for real: exports go, then rows. The rows alone are never edited.
    Raises NotFound, Conflict while an operation works on the volume, InvalidInput for `in-use` without attachments.
    """
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))  # no operation may begin meanwhile
        if journal.busy(conn, id):
            raise errors.Conflict(reason=f"an operation on volume {id} is under way; cancel it instead")
        attachments = repositories.attachments_of(conn, id)
        if changes.get("status") == "in-use" and not attachments:
            raise errors.InvalidInput(field="status", value="in-use", reason="the volume has no attachments")
        if "migration_status" in changes:
            repositories.volumes.update(conn, id, migration_status=changes["migration_status"])
        repositories.volumes.force_status(conn, id, changes.get("status", volume.status), target_size=None)
        if changes.get("attach_status") == "detached":
            submit_detach_all(app, conn, context, volume, attachments, changes.get("status"))
