"""The group that a new volume is to be in."""

from dataclasses import replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model.entities import VolumeType
from nbdsvc.model.groups import Group
from nbdsvc.scheduler.candidate import Nearness
from nbdsvc.store import groups
from nbdsvc.volumes.source import VolumeSource


def find_group(conn: sa.Connection, id: str, project_id: str | None, *, consistency_group: bool) -> Group:
    """The group, which takes volumes until the commit. consistency_group: one of the older API. NotFound, InvalidState."""
    found = groups.lock_usable(conn, id, project_id, "take a new volume")
    if consistency_group and not found.is_consistency_group:
        raise errors.NotFound(resource="ConsistencyGroup", id=id)
    return found


def check_fits(group: Group, volume_type: VolumeType, source: VolumeSource | None) -> None:
    """InvalidInput for a type that the group does not have, and for a source that is on another backend."""
    if volume_type.id not in group.volume_types:
        reason = f"requested type must be supported by this group, which has {len(group.volume_types)} others"
        raise errors.InvalidInput(field="volume_type", value=volume_type.name, reason=reason)
    if source and names.join_host(*names.split_host(source.host)[:2]) != group.full_name:
        reason = "the source of the volume is not on the backend of its group"
        raise errors.InvalidInput(field="group_id", value=group.id, reason=reason)


def beside(group: Group, near: Nearness) -> Nearness:
    """Where the hints want the volume, on the backend of its group only."""
    own = frozenset({group.full_name})
    return replace(near, same_backends=own if near.same_backends is None else own & near.same_backends)
