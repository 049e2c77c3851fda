"""How access ends: admitted at once, whatever else is under way on the volume, and done without waiting for it.

These operations lock their attachments only (locking.py). A connect that has not ended may wait for a copy of the volume;
it is cancelled, because nobody wants any more what it would export.
"""

import sqlalchemy as sa

from nbdsvc.manager.app import App, operation
from nbdsvc.manager.locking import locks
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import operations as journal


def admit(app: App, conn: sa.Connection, context: Context, kind: str, volume: Volume, id: str) -> str:
    """The operation of this kind (attachment.delete, attachment.terminate) for the attachment: a new one, or one under way.

    A client that loses patience and repeats its request a thousand times queues one operation.
    """
    for found in journal.unfinished_of(conn, volume.id):
        if found.args.get("attachment_id") == id and found.kind == kind and not found.cancel_requested:
            return found.id
    _cancel_connects(conn, volume, [id])
    args = {"volume_id": volume.id, "attachment_id": id}
    resource, held = ("volume", volume.id), locks(kind, attachment=id)
    made = operation(app, context, kind, volume.host, resource, held, args)
    return app.operations.admit(conn, made, bounded=False).id


def admit_all(
    app: App, conn: sa.Connection, context: Context, volume: Volume, attachments: list[Attachment], status: str | None
) -> str:
    """End these attachments and remove their rows. status: what the volume's is to be afterwards; None: it follows them."""
    ids = [attachment.id for attachment in attachments]
    _cancel_connects(conn, volume, ids)
    args = {"volume_id": volume.id, "attachment_ids": ids, "status": status}
    resource, held = ("volume", volume.id), locks("volume.detach_all", attachment=ids)
    made = operation(app, context, "volume.detach_all", volume.host, resource, held, args)
    return app.operations.admit(conn, made, bounded=False).id


def _cancel_connects(conn: sa.Connection, volume: Volume, ids: list[str]) -> None:
    for found in journal.unfinished_of(conn, volume.id):
        if found.kind == "attachment.connect" and found.args["attachment_id"] in ids:
            journal.request_cancel(conn, found.id)
