"""Repairs an attachment's export: makes or removes it, as its row requires."""

import sqlalchemy as sa

from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.arguments import AttachmentArgs, lock_attachment
from nbdsvc.attachments.desired_export import access_of, export_spec, exportable
from nbdsvc.attachments.transport import protocol_of
from nbdsvc.host import Backend, Host, backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.qos.keep import keep_export
from nbdsvc.store import repositories


def submit_repair(app: App, conn: sa.Connection, context: Context, host: str, volume_id: str, id: str) -> str:
    """Submit, in the caller's transaction, the operation that repairs this attachment's export. Returns its id."""
    args = AttachmentArgs(volume_id, id)
    return app.submit(conn, context, REPAIR_EXPORT, args, backend=host, resource=("volume", volume_id)).id


def _repair(run: Run[AttachmentArgs]) -> None:
    """Repair by the recorded transport, whatever the settings are now. This operation holds the attachment's lock."""
    repair_export(host_of(run), backend_of(run), run.args.attachment_id)


def repair_export(host: Host, backend: Backend, id: str) -> None:
    """Make the attachment's export as its row and its volume's call for it, or remove it. The caller holds its lock.

    Errors: those of the exporter and the driver.
    """
    with host.database.read() as conn:
        attachment = repositories.attachments.find(conn, id)
        volume = repositories.volumes.find(conn, attachment.volume_id) if attachment else None
    is_there = volume is not None and volume.host == host.name and volume.replication_status != states.LEFT_BEHIND
    has_ended = id in host.ended or not is_there
    if attachment is not None and attachment.exported and attachment.status != "detaching" and not has_ended:
        exporter = host.exporter(attachment.protocol or protocol_of(backend.exporter))
        for other in host.exporters:
            if other is not exporter:  # it may have an export of an earlier connection
                other.remove(attachment.id)
        found = exportable(host, attachment.volume_id)
        access = access_of(exporter, attachment, found.location)
        spec = export_spec(exporter, attachment, found, access)
        exporter.ensure(spec)
        keep_export(host, exporter, spec)
    else:
        end_of_access.remove_export(host, id)


# The rows are right already: the export was made to fit them.
REPAIR_EXPORT = OperationType(
    "attachment.repair", AttachmentArgs, (Step("repair", _repair),), lock_attachment, modifies=False
)
