"""The export that an attachment's row calls for."""

from dataclasses import replace
from typing import Any

from nbdsvc import errors
from nbdsvc.attachments.transport import protocol_of
from nbdsvc.exporter import Access, Connector, Exporter, ExportSpec
from nbdsvc.host import Host, host_of
from nbdsvc.model.entities import Attachment
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import repositories


def find_attachment(run: Run[Any], id: str) -> Attachment | None:
    """The attachment's row as it is now; None once it is deleted."""
    with host_of(run).database.read() as conn:
        return repositories.attachments.find(conn, id)


def access_of(exporter: Exporter, attachment: Attachment) -> Access:
    """The access that this transport grants the attachment's connector. Raises InvalidInput where it grants none."""
    return exporter.accept(Connector.parse(attachment.connector or {}))


def export_spec(host: Host, exporter: Exporter, attachment: Attachment, access: Access) -> ExportSpec:
    """The desired export of this attachment. Raises NotFound when its volume is deleted."""
    with host.database.read() as conn:
        volume = repositories.volumes.get(conn, attachment.volume_id)
        ref = volume_ref(conn, volume)
    info = attachment.connection_info or {}
    return ExportSpec(
        id=attachment.id,
        volume_id=volume.id,
        path=host.of(volume).driver.location(ref).path,
        access=access,
        read_only=attachment.mode == "ro" or bool(volume.readonly),
        secret=attachment.secret if access.needs_secret else None,
        port=info.get("port") if info.get("driver_volume_type") == protocol_of(exporter) else None,
    )


def share_secret(host: Host, exporter: Exporter, attachment: Attachment, access: Access) -> Attachment:
    """The attachment, with the secret of another by which this connector has the volume already, where there is one."""
    if access.sharing_key is None:
        return attachment
    with host.database.write() as conn:
        for other in repositories.attachments_of(conn, attachment.volume_id):
            if other.id != attachment.id and other.exported and _sharing_key(exporter, other) == access.sharing_key:
                repositories.attachments.update(conn, attachment.id, secret=other.secret)
                return replace(attachment, secret=other.secret)
    return attachment


def _sharing_key(exporter: Exporter, attachment: Attachment) -> str | None:
    """None also for one that another transport exports."""
    if attachment.protocol != protocol_of(exporter):
        return None
    try:
        return access_of(exporter, attachment).sharing_key
    except errors.InvalidInput:  # accepted by other settings
        return None
