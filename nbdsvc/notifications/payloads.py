"""The payloads of notifications: rows with Cinder's keys. Never a connector, a connection_info or a key."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nbdsvc.model import operation as model
from nbdsvc.model.entities import Attachment, Backup, Snapshot, Volume
from nbdsvc.model.groups import Group, GroupSnapshot
from nbdsvc.store import groups, repositories, tables
from nbdsvc.store.repository import R, Repository

Payload = dict[str, Any]
# Operations that bring a volume into being.
_LAUNCHING = ("volume.create", "volume.manage", "backup.restore", "group.create_from_source")


def read(conn: sa.Connection, noun: str, id: str) -> Payload | None:
    """The payload of the resource as its row is now; None without a row."""
    return _READERS[noun](conn, id)


def absent(noun: str, id: str) -> Payload:
    """The payload of a resource that has no row."""
    return {f"{noun}_id": id, "status": "deleted"}


def volume(conn: sa.Connection, row: Volume) -> Payload:
    """The payload of a volume, with its attachments."""
    return {
        **_owner(row),
        "volume_id": row.id,
        "display_name": row.name,
        "size": row.size,
        "status": row.status,
        "host": row.full_host,
        "availability_zone": row.availability_zone,
        "volume_type": row.volume_type_id,
        "snapshot_id": row.snapshot_id,
        "source_volid": row.source_volid,
        "bootable": row.bootable,
        "replication_status": row.replication_status,
        "replication_extended_status": row.replication_extended_status,
        "metadata": row.metadata,
        "launched_at": time(_launched(conn, row)),
        "volume_attachment": [_attachment(each) for each in repositories.attachments_of(conn, row.id)],
    }


def time(moment: datetime | None) -> str | None:
    """A time as payloads have it: UTC."""
    return moment.isoformat() if moment else None


def _launched(conn: sa.Connection, row: Volume) -> datetime | None:
    """When it was ready: None while it is being made; when its row was made, where the journal has forgotten more."""
    if row.status in ("creating", "downloading", "managing", "error_managing"):
        return None
    c = tables.operations.c
    made = sa.select(sa.func.min(c.finished_at)).where(
        c.resource_id == row.id, c.kind.in_(_LAUNCHING), c.state == model.SUCCEEDED
    )
    return conn.execute(made).scalar() or row.created_at


def _attachment(row: Attachment) -> Payload:
    return {
        "attachment_id": row.id,
        "instance_uuid": row.instance_uuid,
        "attached_host": row.attached_host,
        "mountpoint": row.mountpoint,
        "attach_mode": row.mode,
        "attach_status": row.status,
    }


def _owner(row: Volume | Snapshot | Backup | Group | GroupSnapshot) -> Payload:
    """Both names of a project: Cinder's older receivers know tenants."""
    owner = {"tenant_id": row.project_id, "project_id": row.project_id, "user_id": row.user_id}
    return {**owner, "created_at": time(row.created_at)}


def _attachment_of(conn: sa.Connection, row: Attachment) -> Payload | None:
    """The volume, and which of its attachments it is about."""
    found = read(conn, "volume", row.volume_id)
    return {**found, **_attachment(row)} if found else None


def _snapshot(_conn: sa.Connection, row: Snapshot) -> Payload:
    return {
        **_owner(row),
        "snapshot_id": row.id,
        "volume_id": row.volume_id,
        "volume_size": row.volume_size,
        "display_name": row.name,
        "status": row.status,
        "metadata": row.metadata,
        "deleted": "",
    }


def _backup(_conn: sa.Connection, row: Backup) -> Payload:
    return {
        **_owner(row),
        "backup_id": row.id,
        "volume_id": row.volume_id,
        "snapshot_id": row.snapshot_id,
        "parent_id": row.parent_id,
        "display_name": row.name,
        "size": row.size,
        "status": row.status,
        "host": row.host,
        "availability_zone": row.availability_zone,
        "fail_reason": row.fail_reason,
        "object_count": row.object_count,
        "stored_bytes": row.stored,
    }


def _group(_conn: sa.Connection, row: Group) -> Payload:
    return {
        **_owner(row),
        "group_id": row.id,
        "name": row.name,
        "group_type": row.group_type_id,
        "availability_zone": row.availability_zone,
        "host": row.full_name,
        "status": row.status,
    }


def _group_snapshot(_conn: sa.Connection, row: GroupSnapshot) -> Payload:
    return {
        **_owner(row),
        "group_snapshot_id": row.id,
        "group_id": row.group_id,
        "name": row.name,
        "group_type": row.group_type_id,
        "status": row.status,
    }


def _reader(
    rows: Repository[R], payload: Callable[[sa.Connection, R], Payload | None]
) -> Callable[[sa.Connection, str], Payload | None]:
    """Reads the payload of the row that has an id."""

    def of_id(conn: sa.Connection, id: str) -> Payload | None:
        row = rows.find(conn, id)
        return None if row is None else payload(conn, row)

    return of_id


_READERS: Mapping[str, Callable[[sa.Connection, str], Payload | None]] = {
    "volume": _reader(repositories.volumes, volume),
    "attachment": _reader(repositories.attachments, _attachment_of),
    "snapshot": _reader(repositories.snapshots, _snapshot),
    "backup": _reader(repositories.backups, _backup),
    "group": _reader(groups.groups, _group),
    "group_snapshot": _reader(groups.group_snapshots, _group_snapshot),
}
