"""Rows as the API's JSON, field by field and microversion by microversion."""

from datetime import datetime
from typing import Any

from nbdsvc import errors
from nbdsvc.api import fields
from nbdsvc.api.microversions import Version
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import ZONES_SPEC, Attachment, Snapshot, Volume, VolumeType
from nbdsvc.model.operation import Operation
from nbdsvc.volumes.read import Related

# Extra specs that every user may see, because they describe what the volume can do.
_VISIBLE_SPECS = frozenset({"multiattach", "replication_enabled", ZONES_SPEC})


def stamp(moment: datetime | None) -> str | None:
    """The time as Cinder writes it, in UTC."""
    return moment.isoformat(timespec="microseconds") if moment else None  # strftime takes five times the time


def links(base: str, project: str, path: str, id: str) -> list[dict[str, str]]:
    """The resource's own links."""
    return [
        {"rel": "self", "href": f"{base}/v3/{project}/{path}/{id}"},
        {"rel": "bookmark", "href": f"{base}/{project}/{path}/{id}"},
    ]


def volume_summary(volume: Volume, base: str) -> dict[str, Any]:
    """An entry of the short list."""
    return {"id": volume.id, "name": volume.name, "links": links(base, volume.project_id, "volumes", volume.id)}


def volume(volume: Volume, related: Related, context: Context, version: Version, base: str) -> dict[str, Any]:
    """The reply of create and update. Of the volume's attachments only completed ones are shown."""
    attached = related.attachments_of(volume)
    older = volume.group_id in related.consistency_groups
    shown = volume_summary(volume, base)
    shown |= {  # in place here and below: on a list of a thousand, copies are a twentieth of the time
        "status": volume.status,
        "size": volume.size,
        "availability_zone": volume.availability_zone,
        "created_at": stamp(volume.created_at),
        "updated_at": stamp(volume.updated_at),
        "attachments": [_of_volume(a) for a in attached if a.status == "attached"],
        "description": volume.description,
        "volume_type": related.type_of(volume),
        "snapshot_id": volume.snapshot_id,
        "source_volid": volume.source_volid,
        "metadata": volume.metadata,
        "user_id": volume.user_id,
        "bootable": str(volume.bootable).lower(),
        "encrypted": False,
        "replication_status": volume.replication_status,
        "consistencygroup_id": volume.group_id if older else None,
        "multiattach": volume.multiattach,
    }
    if volume.readonly is not None:
        shown["metadata"] = volume.metadata | {"readonly": str(volume.readonly)}
    if context.is_admin:
        shown["migration_status"] = volume.migration_status
    if version >= (3, 13):
        shown["group_id"] = None if older else volume.group_id
    if version >= (3, 21) and context.is_admin:
        shown["provider_id"] = volume.provider_id
    shown |= fields.added("volume", volume, related, version, admin=context.is_admin)
    return shown


def volume_extras(volume: Volume, context: Context) -> dict[str, Any]:
    """Attributes of older extensions, which show and the detailed list add."""
    shown: dict[str, Any] = {"os-vol-tenant-attr:tenant_id": volume.project_id}
    if volume.image_metadata:
        shown["volume_image_metadata"] = volume.image_metadata
    if context.is_admin:
        shown["os-vol-host-attr:host"] = volume.full_host
        shown["os-vol-mig-status-attr:migstat"] = volume.migration_status
        shown["os-vol-mig-status-attr:name_id"] = None
        if volume.replication_status:
            shown["os-volume-replication:extended_status"] = volume.replication_extended_status
            shown["os-volume-replication:driver_data"] = volume.replication_driver_data
    return shown


def _of_volume(attachment: Attachment) -> dict[str, Any]:
    return {
        "id": attachment.volume_id,
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "server_id": attachment.instance_uuid,
        "host_name": attachment.attached_host,
        "device": attachment.mountpoint,
        "attached_at": stamp(attachment.attached_at),
    }


def snapshot_summary(snapshot: Snapshot) -> dict[str, Any]:
    """An entry of the short list, and the reply of manage, in every version."""
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "volume_id": snapshot.volume_id,
        "status": snapshot.status,
        "size": snapshot.volume_size,
        "created_at": stamp(snapshot.created_at),
        "updated_at": stamp(snapshot.updated_at),
        "metadata": snapshot.metadata,
    }


def snapshot(snapshot: Snapshot, version: Version, *, extras: bool = False) -> dict[str, Any]:
    """The reply of create and update; with `extras`, that of show and the detailed list."""
    shown = snapshot_summary(snapshot)
    if extras:
        shown["os-extended-snapshot-attributes:progress"] = snapshot.progress
        shown["os-extended-snapshot-attributes:project_id"] = snapshot.project_id
    if version >= (3, 14):
        shown["group_snapshot_id"] = snapshot.group_snapshot_id
    if version >= (3, 41):
        shown["user_id"] = snapshot.user_id
    return shown | fields.added("snapshot", snapshot, None, version, admin=False)


def attachment(
    row: Attachment, *, detail: bool = False, connection_info: dict[str, Any] | None = None
) -> dict[str, Any]:
    """connection_info: with the secrets of the export; None: as the row has it, without them."""
    shown: dict[str, Any] = {
        "id": row.id,
        "instance": row.instance_uuid,
        "status": row.status,
        "volume_id": row.volume_id,
    }
    if detail:
        shown |= {
            "attached_at": stamp(row.attached_at) or "",
            "detached_at": "",
            "attach_mode": row.mode,
            "connection_info": _connection_info(row, connection_info or row.connection_info),
        }
    return shown


def _connection_info(row: Attachment, found: dict[str, Any] | None) -> dict[str, Any]:
    """The connection_info with the attachment's id: some clients keep only this, and complete the attachment by it."""
    return {**found, "attachment_id": row.id} if found else {}


def _progress(row: Operation) -> dict[str, Any]:
    """Bytes, bytes a second, and seconds that are left at that rate: null where they are unknown."""
    left = row.progress_total - row.progress_done
    return {
        "done": row.progress_done,
        "total": row.progress_total,
        "text": row.progress_text,
        "data": row.progress_data,
        "rate": 0 if row.finished else row.progress_rate,
        "seconds_left": round(left / row.progress_rate) if row.progress_rate and not row.finished else None,
    }


def extra_specs(row: VolumeType, context: Context) -> dict[str, str]:
    """The extra specs that this user may see."""
    return row.extra_specs if context.is_admin else {k: v for k, v in row.extra_specs.items() if k in _VISIBLE_SPECS}


def volume_type(row: VolumeType, context: Context) -> dict[str, Any]:
    """The reply of update."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
        "extra_specs": extra_specs(row, context),
    }


def volume_type_access(row: VolumeType) -> dict[str, Any]:
    """The attribute that create, show and the list add."""
    return {"os-volume-type-access:is_public": row.is_public}


def volume_type_qos(row: VolumeType, context: Context) -> dict[str, Any]:
    """The attribute that show, the list and the default type add for an administrator."""
    return {"qos_specs_id": row.qos_specs_id} if context.is_admin else {}


def uploaded_type(row: VolumeType, context: Context) -> dict[str, Any]:
    """The whole row, as only the reply of os-volume_upload_image shows a type."""
    return {
        **volume_type(row, context),
        "qos_specs_id": row.qos_specs_id,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def failure(row: Operation, context: Context) -> str:
    """The reason of a failure as this user may read it; empty where nothing failed."""
    return errors.from_facts(row.error).message_for_user(everything=context.is_admin) if row.error else ""


def _attempt(tried: dict[str, Any], context: Context) -> dict[str, Any]:
    """An attempt in another pool. Which one, is no business of projects."""
    reason = errors.from_facts(tried["error"]).message_for_user(everything=context.is_admin)
    return {"pool": tried["pool"] if context.is_admin else None, "reason": reason}


def operation(row: Operation, context: Context) -> dict[str, Any]:
    """An operation (ours, not Cinder's): its progress and, if it failed, why; for administrators also where it is."""
    shown = {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "request_id": row.request_id,
        "progress": _progress(row),
        "error": {"kind": row.error["kind"], "message": failure(row, context)} if row.error else None,
        "continued_by": row.continued_by,
        "tried": [_attempt(each, context) for each in row.tried],
        "skipped": row.skipped or [],
        "cancel_requested": row.cancel_requested,
        "rate": row.rate,
        "attempts": row.attempts,
        "created_at": stamp(row.created_at),
        "started_at": stamp(row.started_at),
        "finished_at": stamp(row.finished_at),
    }
    if context.is_admin:
        shown["host"] = names.join_host(row.host, row.backend)
        shown["step_host"] = names.join_host(row.step_host, row.step_backend)
    return shown
