"""The references of groups and group snapshots that a driver gets, and the rows of an operation's volumes and snapshots."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nbdsvc.driver import GroupRef, GroupSnapshotRef, SnapshotRef, VolumeRef
from nbdsvc.host import host_of
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import snapshot_ref, volume_ref
from nbdsvc.store import groups, repositories


def read_group_ref(run: Run[Any], id: str) -> GroupRef:
    """The driver's reference of a group. Raises NotFound."""
    with host_of(run).database.read() as conn:
        return _group_ref(conn, id)


def read_group_snapshot_ref(run: Run[Any], id: str) -> GroupSnapshotRef:
    """The driver's reference of a group snapshot, with its group. Raises NotFound."""
    with host_of(run).database.read() as conn:
        return GroupSnapshotRef(id, _group_ref(conn, groups.group_snapshots.get(conn, id).group_id))


def read_volume_refs(run: Run[Any], ids: Iterable[str]) -> list[VolumeRef]:
    """The driver's references of volumes, in the order of their ids; without those that have no row any more."""
    with host_of(run).database.read() as conn:
        found = [repositories.volumes.find(conn, id) for id in ids]
        return [volume_ref(conn, each) for each in found if each]


def read_snapshot_refs(run: Run[Any], ids: Iterable[str]) -> list[SnapshotRef]:
    """The driver's references of snapshots, in the order of their ids; without those that have no row any more."""
    with host_of(run).database.read() as conn:
        found = [repositories.snapshots.find(conn, id) for id in ids]
        return [snapshot_ref(each, repositories.volumes.get(conn, each.volume_id)) for each in found if each]


def _group_ref(conn: sa.Connection, id: str) -> GroupRef:
    found = groups.group_types.find(conn, groups.groups.get(conn, id).group_type_id)
    return GroupRef(id, found.group_specs if found else {})
