"""Rows of groups as the API's JSON, field by field and microversion by microversion."""

from typing import Any

from nbdsvc.api import steps
from nbdsvc.api.microversions import Version
from nbdsvc.api.views import stamp
from nbdsvc.model.context import Context
from nbdsvc.model.groups import Group, GroupSnapshot, GroupType

_SOURCES_SINCE, _REPLICATION_SINCE = (3, 14), (3, 38)


def group_type(row: GroupType, context: Context) -> dict[str, Any]:
    """A group type; its group specs are for administrators."""
    shown = {"id": row.id, "name": row.name, "description": row.description, "is_public": row.is_public}
    return {**shown, "group_specs": row.group_specs} if context.is_admin else shown


def summary(row: Group | GroupSnapshot) -> dict[str, Any]:
    """An entry of a short list, and the reply of a create, of groups and of the older API."""
    return {"id": row.id, "name": row.name}


def _common(row: Group | GroupSnapshot) -> dict[str, Any]:
    return {
        **summary(row),
        "status": row.status,
        "created_at": stamp(row.created_at),
        "description": row.description,
    }


def group(row: Group, version: Version, volumes: list[str] | None = None) -> dict[str, Any]:
    """The reply of show and the detailed list. volumes: their ids, where the request wants them."""
    shown = consistency_group(row) | {"group_type": row.group_type_id}
    if version >= _SOURCES_SINCE:
        shown |= {"group_snapshot_id": row.group_snapshot_id, "source_group_id": row.source_group_id}
    if volumes is not None:
        shown["volumes"] = volumes
    if version >= _REPLICATION_SINCE:
        shown["replication_status"] = row.replication_status
    return shown | _project(row, version)


def _project(row: Group | GroupSnapshot, version: Version) -> dict[str, str]:
    return {"project_id": row.project_id} if version >= steps.GROUP_PROJECT else {}


def group_snapshot_summary(row: GroupSnapshot) -> dict[str, Any]:
    """An entry of the short list, and the reply of a create."""
    return {**summary(row), "group_type_id": row.group_type_id}


def group_snapshot(row: GroupSnapshot, version: Version) -> dict[str, Any]:
    """The reply of show and the detailed list."""
    shown = _common(row) | {"group_id": row.group_id, "group_type_id": row.group_type_id}
    return shown | _project(row, version)


def consistency_group(row: Group) -> dict[str, Any]:
    """A consistency group in detail."""
    return _common(row) | {"availability_zone": row.availability_zone, "volume_types": row.volume_types}


def cgsnapshot(row: GroupSnapshot) -> dict[str, Any]:
    """A snapshot of a consistency group in detail."""
    return _common(row) | {"consistencygroup_id": row.group_id}
