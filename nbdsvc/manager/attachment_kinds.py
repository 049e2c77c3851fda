"""What attachment operations do, step by step."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.exporter import ConnectionInfo, ExportSpec
from nbdsvc.manager import ending, settling
from nbdsvc.manager.app import Host, host_of
from nbdsvc.model import clock, keys
from nbdsvc.model.entities import Attachment
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import ACCESS, Kind, Run, Step
from nbdsvc.refs import volume_ref
from nbdsvc.store import nouns

# Where a row is while it is connected: one that is attached already may be connected again.
_CONNECTING = ("attaching", "attached")


def export_spec(host: Host, attachment: Attachment) -> ExportSpec:
    """What an attachment owes its connector. The key is used only where the export is on the network."""
    with host.database.read() as conn:
        volume = nouns.volumes.get(conn, attachment.volume_id)
    connector = attachment.connector or {}
    return ExportSpec(
        id=attachment.id,
        volume_id=volume.id,
        path=host.driver.local_path(volume_ref(volume)),
        read_only=attachment.mode == "ro" or bool(volume.readonly),
        tcp=host.exporter.needs_tcp(connector),
        secret=attachment.secret if host.exporter.needs_secret(connector) else None,
        initiator=connector.get("initiator"),
        port=(attachment.connection_info or {}).get("port"),
    )


def _attachment(run: Run) -> Attachment | None:
    with host_of(run).database.read() as conn:
        return nouns.attachments.find(conn, run.args["attachment_id"])


def _export(run: Run) -> dict[str, Any]:
    """Export it, and what to tell the connector; the key stays in the attachment's row."""
    host, attachment = host_of(run), _attachment(run)
    if attachment is None:
        raise errors.NotFound(resource="VolumeAttachment", id=run.args["attachment_id"])
    connector = attachment.connector or {}
    host.exporter.validate_connector(connector)
    spec = export_spec(host, _with_shared_secret(host, attachment))
    if not spec.read_only:
        host.digests.discard(spec.volume_id)
    host.exporter.create_export(spec)
    if spec.id in host.ended:  # meanwhile, or before: its row does not know yet
        raise errors.Conflict(reason=f"the access of attachment {spec.id} was ended, which could not be recorded yet")
    return told(host.exporter.initialize_connection(spec, connector))


def told(info: ConnectionInfo) -> dict[str, Any]:
    """What an attachment's row keeps of it: all but the secrets."""
    data = {key: value for key, value in info.data.items() if key not in keys.IN_REPLY_ONLY}
    return {"driver_volume_type": info.driver_volume_type, **data, "encrypted": False, "qos_specs": None}


def _with_shared_secret(host: Host, attachment: Attachment) -> Attachment:
    """Where this connector has the volume already by another attachment, this one gets the secret of that one."""
    shared_by = host.exporter.shared_by(attachment.connector or {})
    if shared_by is None:
        return attachment
    with host.database.write() as conn:
        for other in nouns.attachments_of(conn, attachment.volume_id):
            same = host.exporter.shared_by(other.connector or {}) == shared_by
            if other.exported and same and other.id != attachment.id:
                nouns.attachments.update(conn, attachment.id, secret=other.secret)
                return replace(attachment, secret=other.secret)
    return attachment


def _unexport(run: Run) -> None:
    ending.remove(host_of(run), run.args["attachment_id"])


def _connected(conn: sa.Connection, operation: Operation) -> None:
    id, info = operation.args["attachment_id"], operation.results["export"]
    nouns.attachments.update(conn, id, connection_info=info, exported=True)
    if operation.args["complete"]:
        settling.attachment(conn, id, _CONNECTING, "attached", attached_at=clock.now())
    if not nouns.attachments.get(conn, id).legacy:
        settling.follow_attachments(conn, operation.args["volume_id"])


def _not_connected(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """The volume is as free as before. A legacy row was made for this call only, so it goes with it."""
    id = operation.args["attachment_id"]
    attachment = nouns.attachments.find(conn, id)
    if attachment is None:
        return
    if attachment.legacy and attachment.status == "attaching":
        nouns.attachments.delete(conn, id)
        return
    nouns.attachments.update(conn, id, exported=False, connection_info=None)
    settling.attachment(conn, id, _CONNECTING, "error_attaching")
    settling.follow_attachments(conn, operation.args["volume_id"])


def _removed(conn: sa.Connection, operation: Operation) -> None:
    nouns.attachments.delete(conn, operation.args["attachment_id"])
    settling.follow_attachments(conn, operation.args["volume_id"])
    if not nouns.attachments_of(conn, operation.args["volume_id"]):
        nouns.volumes.update(conn, operation.args["volume_id"], attached_mode=None)


def _not_removed(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.attachment(conn, operation.args["attachment_id"], ("detaching",), "error_detaching")


def _terminated(conn: sa.Connection, operation: Operation) -> None:
    """os-terminate_connection: no access any more; a row that nobody completed goes, a completed one awaits os-detach."""
    attachment = nouns.attachments.find(conn, operation.args["attachment_id"])
    if attachment is None:
        return
    if attachment.status == "attaching":
        nouns.attachments.delete(conn, attachment.id)
    else:
        nouns.attachments.update(conn, attachment.id, connection_info=None, exported=False)


def _unexport_all(run: Run) -> None:
    for id in run.args["attachment_ids"]:
        ending.remove(host_of(run), id)


def _all_removed(conn: sa.Connection, operation: Operation) -> None:
    for id in operation.args["attachment_ids"]:
        nouns.attachments.delete(conn, id)
    if operation.args["status"] is None:
        settling.follow_attachments(conn, operation.args["volume_id"])


def _nothing(_conn: sa.Connection, _operation: Operation, _error: errors.Error | None = None) -> None:
    """The rows are as they should be."""


def _repair(run: Run) -> None:
    """Make the export what the row says: there, or not there (row S068). Nobody else has its attachment's lock."""
    host, attachment = host_of(run), _attachment(run)
    has_ended = run.args["attachment_id"] in host.ended
    if attachment is not None and attachment.exported and attachment.status != "detaching" and not has_ended:
        host.exporter.ensure_export(export_spec(host, attachment))
    else:
        ending.remove(host, run.args["attachment_id"])


KINDS = (
    Kind("attachment.connect", (Step("export", _export, _unexport),), _connected, _not_connected),
    Kind("attachment.delete", (Step("unexport", _unexport),), _removed, _not_removed, ACCESS, _unexport),
    Kind("attachment.terminate", (Step("unexport", _unexport),), _terminated, _nothing, ACCESS, _unexport),
    Kind("attachment.repair", (Step("repair", _repair),), _nothing, _nothing),
    Kind("volume.detach_all", (Step("unexport", _unexport_all),), _all_removed, _nothing, ACCESS, _unexport_all),
)
