"""The export that an attachment's row calls for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nbdsvc import errors
from nbdsvc.attachments.transport import protocol_of
from nbdsvc.driver import VolumeRef
from nbdsvc.exporter import Access, Connector, Exporter, ExportSpec, LimitingExporter
from nbdsvc.host import Host, host_of
from nbdsvc.location import Location
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import qos_specs, repositories


@dataclass(frozen=True)
class Exportable:
    """A volume as its exports need it: its row, what its driver gets to know of it, where its bytes are, and its limits."""

    volume: Volume
    ref: VolumeRef
    location: Location
    limits: Mapping[str, int]


def exportable(host: Host, volume_id: str) -> Exportable:
    """The volume as it is now. Errors: NotFound, BackendUnavailable, those of the driver for a pool that is gone."""
    with host.database.read() as conn:
        volume = repositories.volumes.get(conn, volume_id)
        ref, limits = volume_ref(conn, volume), qos_specs.limits_of(conn, volume_id).back_end
    return Exportable(volume, ref, host.of(volume).driver.location(ref), limits)


def find_attachment(run: Run[Any], id: str) -> Attachment | None:
    """The attachment's row as it is now; None once it is deleted."""
    with host_of(run).database.read() as conn:
        return repositories.attachments.find(conn, id)


def access_of(exporter: Exporter, attachment: Attachment, location: Location) -> Access:
    """The access to a volume there that this transport grants the attachment's connector. As Exporter.accept, it raises
    Unsupported or InvalidInput where it grants none.
    """
    return exporter.accept(Connector.parse(attachment.connector or {}), location)


def export_spec(exporter: Exporter, attachment: Attachment, found: Exportable, access: Access) -> ExportSpec:
    """The desired export of this attachment. found: its volume."""
    volume, info = found.volume, attachment.connection_info or {}
    return ExportSpec(
        id=attachment.id,
        volume_id=volume.id,
        location=found.location,
        access=access,
        read_only=attachment.mode == "ro" or bool(volume.readonly),
        secret=attachment.secret if access.needs_secret else None,
        port=info.get("port") if info.get("driver_volume_type") == protocol_of(exporter) else None,
        limits=found.limits if isinstance(exporter, LimitingExporter) else {},
    )


def share_secret(
    host: Host, exporter: Exporter, attachment: Attachment, location: Location, access: Access
) -> Attachment:
    """The attachment, with the secret of another by which this connector has the volume already, where there is one."""
    if access.sharing_key is None:
        return attachment
    with host.database.write() as conn:
        for other in repositories.attachments_of(conn, attachment.volume_id):
            if other.id == attachment.id or not other.exported:
                continue
            if _sharing_key(exporter, other, location) == access.sharing_key:
                repositories.attachments.update(conn, attachment.id, secret=other.secret)
                return replace(attachment, secret=other.secret)
    return attachment


def _sharing_key(exporter: Exporter, attachment: Attachment, location: Location) -> str | None:
    """None also for one that another transport exports."""
    if attachment.protocol != protocol_of(exporter):
        return None
    try:
        return access_of(exporter, attachment, location).sharing_key
    except errors.InvalidInput:  # the connector was accepted under other settings
        return None
