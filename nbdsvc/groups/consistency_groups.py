"""The groups of the older API: rows of the same tables, found by their type."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.groups.create import CreateGroupRequest, make_group
from nbdsvc.groups.read import get_group
from nbdsvc.groups.snapshots.read import get_group_snapshot
from nbdsvc.model.context import Context
from nbdsvc.model.groups import CG_TYPE_ID, Group, GroupSnapshot


def create_consistency_group(
    app: App,
    context: Context,
    volume_types: tuple[str, ...],
    name: str | None,
    description: str | None,
    availability_zone: str | None,
) -> Group:
    """Start making a consistency group. Raises as `create_group`."""
    return make_group(app, context, CreateGroupRequest(CG_TYPE_ID, volume_types, name, description, availability_zone))


def get_consistency_group(app: App, context: Context, id: str) -> Group:
    """The group. Raises NotFound, also for a group of another type."""
    found = _find(app, context, id)
    if found is None or not found.is_consistency_group:
        raise errors.NotFound(resource="ConsistencyGroup", id=id)
    return found


def get_cgsnapshot(app: App, context: Context, id: str) -> GroupSnapshot:
    """The group snapshot. Raises NotFound, also for one of a group of another type."""
    try:
        found = get_group_snapshot(app, context, id)
    except errors.NotFound:
        raise errors.NotFound(resource="CgSnapshot", id=id) from None
    if found.group_type_id != CG_TYPE_ID:
        raise errors.NotFound(resource="CgSnapshot", id=id)
    return found


def _find(app: App, context: Context, id: str) -> Group | None:
    try:
        return get_group(app, context, id)
    except errors.NotFound:
        return None
