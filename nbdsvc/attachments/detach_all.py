"""Ending several attachments of one volume at once: a forced deletion, and os-reset_status."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation
from nbdsvc.attachments import end_of_access
from nbdsvc.host import host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import ACCESS, Kind, Run, Step
from nbdsvc.store import nouns


def submit_detach_all(
    app: App, conn: sa.Connection, context: Context, volume: Volume, attachments: list[Attachment], status: str | None
) -> str:
    """In the caller's transaction: the operation that ends these attachments and deletes their rows. Returns its id.

    status: what the volume's is to be afterwards; None: what the attachments that are left give it.
    """
    ids = [attachment.id for attachment in attachments]
    end_of_access.cancel_connects(conn, volume, ids)
    args = {"volume_id": volume.id, "attachment_ids": ids, "status": status}
    resource, held = ("volume", volume.id), locks(DETACH_ALL.name, attachment=ids)
    made = operation(app, context, DETACH_ALL.name, volume.full_host, resource, held, args)
    return app.operations.admit(conn, made, bounded=False).id


def _unexport_all(run: Run) -> None:
    for id in run.args["attachment_ids"]:
        end_of_access.remove_export(host_of(run), id)


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    for id in operation.args["attachment_ids"]:
        nouns.attachments.delete(conn, id)
    if operation.args["status"] is None:
        settling.follow_attachments(conn, operation.args["volume_id"])


def _fail(_conn: sa.Connection, _operation: Operation, _error: errors.Error) -> None:
    """The rows stay as they were; the next repair of exports looks after what is left."""


DETACH_ALL = Kind("volume.detach_all", (Step("unexport", _unexport_all),), _succeed, _fail, ACCESS, _unexport_all)
