"""os-terminate_connection: end a connector's access."""

from typing import Any

import sqlalchemy as sa

from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.arguments import AttachmentArgs, lock_attachment
from nbdsvc.attachments.initialize_connection import is_same_connector
from nbdsvc.host import host_of
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import ACCESS, OperationType, Run, Step
from nbdsvc.store import repositories


def terminate_connection(app: App, context: Context, id: str, connector: dict[str, Any] | None) -> Waiting[None]:
    """End the access of this connector to the volume; without one, of every connector of the volume actions.

    Errors: NotFound; BackendUnavailable when the database does not take it, after access has ended.
    """
    with end_of_access.transaction(app) as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        rows = [a for a in repositories.attachments_of(conn, id) if a.legacy and a.connector is not None]
        found = [a for a in rows if connector is None or is_same_connector(a.connector or {}, connector)]
        submitted = [end_of_access.submit(app, conn, context, TERMINATE_CONNECTION, volume, a.id) for a in found]
    return Waiting(tuple(submitted), app.settings.attach_timeout, lambda: None)


def _unexport(run: Run[AttachmentArgs]) -> None:
    end_of_access.remove_export(host_of(run), run.args.attachment_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: AttachmentArgs) -> None:
    """A row that was never completed goes; a completed one stays until os-detach."""
    attachment = repositories.attachments.find(conn, args.attachment_id)
    if attachment is None:
        return
    if attachment.status == "attaching":
        repositories.attachments.delete(conn, attachment.id)
    else:
        repositories.attachments.update(conn, attachment.id, connection_info=None, exported=False)


TERMINATE_CONNECTION = OperationType(
    "attachment.terminate",
    AttachmentArgs,
    (Step("unexport", _unexport),),
    lock_attachment,
    _succeed,
    # A failure leaves the row as it was: its status says nothing of connections.
    modifies=False,
    removes=True,
    lane=ACCESS,
    first=_unexport,
)
