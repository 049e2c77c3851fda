"""The export that an attachment's row calls for."""

from dataclasses import replace
from typing import Any

from nbdsvc.exporter import ConnectionInfo, Exporter, ExportSpec
from nbdsvc.host import Host, host_of
from nbdsvc.model import keys
from nbdsvc.model.entities import Attachment
from nbdsvc.operations.step import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import nouns


def attachment_of(run: Run) -> Attachment | None:
    """The attachment of the operation; None once its row is deleted."""
    with host_of(run).database.read() as conn:
        return nouns.attachments.find(conn, run.args["attachment_id"])


def export_spec(host: Host, attachment: Attachment) -> ExportSpec:
    """What is to be exported for this attachment. Its secret is used only where the export is on the network. NotFound."""
    with host.database.read() as conn:
        volume = nouns.volumes.get(conn, attachment.volume_id)
    backend, connector = host.of(volume), attachment.connector or {}
    return ExportSpec(
        id=attachment.id,
        volume_id=volume.id,
        path=backend.driver.local_path(volume_ref(volume)),
        read_only=attachment.mode == "ro" or bool(volume.readonly),
        tcp=backend.exporter.needs_tcp(connector),
        secret=attachment.secret if backend.exporter.needs_secret(connector) else None,
        initiator=connector.get("initiator"),
        port=(attachment.connection_info or {}).get("port"),
    )


def share_secret(host: Host, exporter: Exporter, attachment: Attachment) -> Attachment:
    """The attachment, with the secret of another by which this connector has the volume already, where there is one."""
    shared_by = exporter.shared_by(attachment.connector or {})
    if shared_by is None:
        return attachment
    with host.database.write() as conn:
        for other in nouns.attachments_of(conn, attachment.volume_id):
            same = exporter.shared_by(other.connector or {}) == shared_by
            if other.exported and same and other.id != attachment.id:
                nouns.attachments.update(conn, attachment.id, secret=other.secret)
                return replace(attachment, secret=other.secret)
    return attachment


def without_secret(info: ConnectionInfo) -> dict[str, Any]:
    """connection_info as the attachment's row and the journal keep it."""
    data = {key: value for key, value in info.data.items() if key not in keys.IN_REPLY_ONLY}
    return {"driver_volume_type": info.driver_volume_type, **data, "encrypted": False, "qos_specs": None}


def with_secret(attachment: Attachment) -> dict[str, Any]:
    """connection_info as its initiator gets it: the only place where the secret leaves its row."""
    return keys.with_secret(attachment.connection_info or {}, attachment.secret)
