"""Deleting an attachment: its access ends at once, its row goes when the export is removed."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.arguments import AttachmentArgs, lock_attachment
from nbdsvc.host import host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import ACCESS, OperationType, Run, Step
from nbdsvc.store import repositories, transitions


def delete_attachment(app: App, context: Context, id: str) -> Waiting[list[Attachment]]:
    """End this attachment's access; its result: the volume's other attachments.

    Errors: NotFound; InvalidState; BackendUnavailable when the database does not take it, after access has ended.
    """
    with app.database.read() as conn:
        repositories.attachments.get(conn, id, owner_scope(context))
    with end_of_access.transaction(app, {id: DELETE_ATTACHMENT.name}) as conn:
        attachment = repositories.attachments.get(conn, id, owner_scope(context))
        volume = repositories.volumes.get(conn, attachment.volume_id)
        submitted = submit_delete(app, conn, context, volume, id)

    def left() -> list[Attachment]:
        with app.database.read() as conn:
            return repositories.attachments_of(conn, volume.id)

    return Waiting((submitted,), app.settings.attach_timeout, left)


def submit_delete(app: App, conn: sa.Connection, context: Context, volume: Volume, id: str) -> str:
    """Set the row `detaching` and submit the operation, in the caller's transaction. Returns its id. Raises InvalidState."""
    repositories.attachments.transition(conn, id, states.ATTACHMENT["delete"].sources, "detaching", action="delete")
    return end_of_access.submit(app, conn, context, DELETE_ATTACHMENT, volume, id)


def _unexport(run: Run[AttachmentArgs]) -> None:
    end_of_access.remove_export(host_of(run), run.args.attachment_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: AttachmentArgs) -> None:
    repositories.attachments.delete(conn, args.attachment_id)
    transitions.follow_attachments(conn, args.volume_id)
    if not repositories.attachments_of(conn, args.volume_id):
        repositories.volumes.update(conn, args.volume_id, attached_mode=None)


def _fail(conn: sa.Connection, _operation: Operation, args: AttachmentArgs, error: errors.Error) -> None:
    transitions.finish_attachment(conn, args.attachment_id, ("detaching",), "error_detaching")


DELETE_ATTACHMENT = OperationType(
    "attachment.delete",
    AttachmentArgs,
    (Step("unexport", _unexport),),
    lock_attachment,
    _succeed,
    _fail,
    modifies=False,
    removes=True,
    lane=ACCESS,
    first=_unexport,
)
