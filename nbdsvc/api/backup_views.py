"""Backups as the API's JSON."""

from typing import Any

from nbdsvc.api import steps
from nbdsvc.api.microversions import Version
from nbdsvc.api.views import links, stamp
from nbdsvc.model.entities import Backup


def summary(row: Backup, base: str) -> dict[str, Any]:
    """An entry of the short list, and the reply of create, update and import."""
    return {"id": row.id, "name": row.name, "links": links(base, row.project_id, "backups", row.id)}


def backup(row: Backup, version: Version, base: str, *, has_dependents: bool) -> dict[str, Any]:
    """The reply of show and the detailed list."""
    shown = summary(row, base) | {
        "status": row.status,
        "size": row.size,
        "object_count": row.object_count,
        "availability_zone": row.availability_zone,
        "container": row.container,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "description": row.description,
        "fail_reason": row.fail_reason,
        "volume_id": row.volume_id,
        "is_incremental": row.is_incremental,
        "has_dependent_backups": has_dependents,
        "snapshot_id": row.snapshot_id,
        "data_timestamp": stamp(row.data_timestamp),
    }
    if version >= (3, 18):
        shown["os-backup-project-attr:project_id"] = row.project_id
    if version >= (3, 43):
        shown["metadata"] = row.metadata
    if version >= steps.BACKUP_USER:
        shown["user_id"] = row.user_id
    return shown
