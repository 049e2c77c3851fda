"""Repairing an attachment's export: there, or not there, as its row has it (row S068)."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.desired_export import access_of, attachment_of, export_spec
from nbdsvc.attachments.transport import protocol_of
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager.locking import locks
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step


def submit_repair(app: App, conn: sa.Connection, context: Context, host: str, volume_id: str, id: str) -> str:
    """In the caller's transaction: the operation that repairs this attachment's export. Returns its id."""
    args = {"volume_id": volume_id, "attachment_id": id}
    held = locks(REPAIR_EXPORT.name, attachment=id)
    made = operation(app, context, REPAIR_EXPORT.name, host, ("volume", volume_id), held, args)
    return app.operations.admit(conn, made).id


def _repair(run: Run) -> None:
    """By the transport that is recorded, whatever the settings are now. Only this operation holds the attachment's lock."""
    host, attachment = host_of(run), attachment_of(run)
    has_ended = run.args["attachment_id"] in host.ended
    if attachment is not None and attachment.exported and attachment.status != "detaching" and not has_ended:
        exporter = host.exporter(attachment.protocol or protocol_of(backend_of(run).exporter))
        for other in host.exporters:
            if other is not exporter:  # of an earlier connection
                other.remove(attachment.id)
        exporter.ensure(export_spec(host, exporter, attachment, access_of(exporter, attachment)))
    else:
        end_of_access.remove_export(host, run.args["attachment_id"])


def _finish(_conn: sa.Connection, _operation: Operation, _error: errors.Error | None = None) -> None:
    """The rows are right already: the export was made to fit them."""


REPAIR_EXPORT = Kind("attachment.repair", (Step("repair", _repair),), _finish, _finish)
