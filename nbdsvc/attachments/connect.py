"""Connecting an attachment: export its volume to a connector (PUT /attachments, os-initialize_connection)."""

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.access_mode import check_mode
from nbdsvc.attachments.connection_info import stored_info
from nbdsvc.attachments.desired_export import Exportable, export_spec, exportable, find_attachment, share_secret
from nbdsvc.attachments.initiators import prepare_connection
from nbdsvc.attachments.transport import check_limiting, choose, protocol_of
from nbdsvc.exporter import Access, Connector, Exporter, ExportSpec
from nbdsvc.host import Backend, Host, backend_of, host_of
from nbdsvc.model import clock, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.qos.keep import keep_export
from nbdsvc.store import qos_specs, repositories, transitions

log = structlog.get_logger(__name__)
# The status of an attachment while it is being connected: an attached one may be connected again.
_CONNECTING = ("attaching", "attached")


@dataclass(frozen=True)
class ConnectArgs:
    """Arguments of the operation `attachment.connect`."""

    volume_id: str
    attachment_id: str
    complete: bool = False
    """Whether the attachment becomes `attached`, because no os-complete will follow."""


def connect_attachment(
    app: App, context: Context, id: str, connector: dict[str, Any], *, complete: bool
) -> Waiting[Attachment]:
    """Export the volume to this connector; its result is the attachment's row. complete: it becomes `attached` too, because
    no os-complete will follow (before 3.44).

    Errors: NotFound, InvalidState, InvalidInput (mode); by the operation: InvalidInput (connector), Unsupported, Conflict,
    ExportFailed.
    """
    with app.change() as conn:
        attachment = repositories.attachments.get(conn, id, owner_scope(context))
        volume = repositories.volumes.get(conn, attachment.volume_id)
        mode = connector.get("mode") or attachment.mode
        check_mode(volume, mode)
        wanted = replace(attachment, mode=mode)
        submitted = submit_connect(app, conn, context, volume, wanted, connector, complete=complete)

    def connected() -> Attachment:
        with app.database.read() as conn:
            return repositories.attachments.get(conn, id)

    return Waiting((submitted,), app.settings.attach_timeout, connected)


def submit_connect(
    app: App,
    conn: sa.Connection,
    context: Context,
    volume: Volume,
    attachment: Attachment,
    connector: dict[str, Any],
    *,
    complete: bool,
) -> str:
    """Change the row and submit the operation that exports, in the caller's transaction. Returns the operation's id.

    Raises InvalidState when the attachment cannot be connected.
    """
    rule = states.ATTACHMENT["connect again" if attachment.status == "attached" else "connect"]
    repositories.attachments.transition(
        conn,
        attachment.id,
        rule.sources,
        rule.done or "",
        action="connect",
        connector=connector,
        attached_host=connector.get("host"),
        mountpoint=connector.get("mountpoint"),
        mode=attachment.mode,
    )
    if not attachment.legacy:
        transitions.follow_attachments(conn, volume.id)
    args = ConnectArgs(volume.id, attachment.id, complete)
    return app.submit(conn, context, CONNECT_ATTACHMENT, args, backend=volume, resource=("volume", volume.id)).id


def _locks(args: ConnectArgs) -> list[Lock]:
    return locks("attachment.connect", volume=args.volume_id, attachment=args.attachment_id)


def _export(run: Run[ConnectArgs]) -> dict[str, Any]:
    """Export the volume; the result is its connection_info without the secret, which stays in the attachment's row."""
    host, attachment = host_of(run), find_attachment(run, run.args.attachment_id)
    if attachment is None:
        raise errors.NotFound(resource="VolumeAttachment", id=run.args.attachment_id)
    found = exportable(host, attachment.volume_id)
    exporter, access = _choose_transport(run, attachment, found)
    sharing = share_secret(host, exporter, attachment, found.location, access)
    spec = export_spec(exporter, sharing, found, access)
    return export_here(host, backend_of(run), exporter, attachment, found, spec)


def export_here(
    host: Host, backend: Backend, exporter: Exporter, attachment: Attachment, found: Exportable, spec: ExportSpec
) -> dict[str, Any]:
    """Make the attachment's export; returns its connection_info without the secret. Errors of driver and exporter; Conflict
    where its access was ended.
    """
    if not spec.read_only:
        host.digests.discard(spec.volume_id)
    added = prepare_connection(host.database, backend, found.ref, attachment.connector or {})
    info = exporter.ensure(spec)
    if spec.id in host.ended:  # its access was ended before this or meanwhile, and its row does not show that yet
        raise errors.Conflict(reason=f"the access of attachment {spec.id} was ended, which could not be recorded yet")
    where = {"location": info.location} if info.location else {}
    log.info("exported", attachment=spec.id, protocol=info.driver_volume_type, **where)
    return {**added, **stored_info(info, _follow_limits(host, exporter, spec))}


def _follow_limits(host: Host, exporter: Exporter, spec: ExportSpec) -> dict[str, str] | None:
    """The limits of the front end. Those of the export follow its rows, which may have changed before it was there."""
    with host.database.read() as conn:
        limits = qos_specs.limits_of(conn, spec.volume_id)
    if limits.back_end:
        check_limiting([exporter])
    if limits.back_end != spec.limits:
        keep_export(host, exporter, spec)
    return limits.front_end


def _choose_transport(run: Run[ConnectArgs], attachment: Attachment, found: Exportable) -> tuple[Exporter, Access]:
    """Chosen and recorded before anything is exported; an export by another transport, of an earlier connection, is removed.

    Errors: Unsupported (type, location), InvalidInput (connector).
    """
    host, connector = host_of(run), Connector.parse(attachment.connector or {})
    exporters, recorded = backend_of(run).exporters, attachment.protocol
    exporter, access = choose(
        exporters, connector, found.location, found.ref.extra_specs, recorded, limited=bool(found.limits)
    )
    if protocol_of(exporter) != attachment.protocol:
        if attachment.protocol:
            end_of_access.remove_export(host, attachment.id)
        with host.database.write() as conn:
            repositories.attachments.update(conn, attachment.id, protocol=protocol_of(exporter))
    return exporter, access


def _unexport(run: Run[ConnectArgs]) -> None:
    end_of_access.remove_export(host_of(run), run.args.attachment_id)


def _succeed(conn: sa.Connection, operation: Operation, args: ConnectArgs) -> None:
    id, info = args.attachment_id, operation.results["export"]
    repositories.attachments.update(conn, id, connection_info=info, protocol=info["driver_volume_type"], exported=True)
    if args.complete:
        transitions.finish_attachment(conn, id, _CONNECTING, "attached", attached_at=clock.now())
    if not repositories.attachments.get(conn, id).legacy:
        transitions.follow_attachments(conn, args.volume_id)


def _fail(conn: sa.Connection, _operation: Operation, args: ConnectArgs, error: errors.Error) -> None:
    """The volume is as free as before. A row of the volume actions was made for this operation, so it is deleted."""
    id = args.attachment_id
    attachment = repositories.attachments.find(conn, id)
    if attachment is None:
        return
    if attachment.legacy and attachment.status == "attaching":
        repositories.attachments.delete(conn, id)
        return
    repositories.attachments.update(conn, id, exported=False, connection_info=None)
    transitions.finish_attachment(conn, id, _CONNECTING, "error_attaching")
    transitions.follow_attachments(conn, args.volume_id)


CONNECT_ATTACHMENT = OperationType(
    "attachment.connect", ConnectArgs, (Step("export", _export, _unexport),), _locks, _succeed, _fail, modifies=False
)
