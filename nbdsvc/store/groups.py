"""The rows of groups, of their types and snapshots, and what is in them."""

from collections.abc import Sequence

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import states
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.groups import Group, GroupSnapshot, GroupType
from nbdsvc.store import group_tables, repositories, tables
from nbdsvc.store.repository import Repository

group_types: Repository[GroupType] = Repository(group_tables.group_types, GroupType, "GroupType")
groups: Repository[Group] = Repository(group_tables.groups, Group, "Group", states.moves(states.GROUP))
group_snapshots: Repository[GroupSnapshot] = Repository(
    group_tables.group_snapshots, GroupSnapshot, "GroupSnapshot", states.moves(states.GROUP_SNAPSHOT)
)

_types, _groups = group_tables.group_types.c, group_tables.groups.c
_type = group_types.query(sa.or_(_types.id == sa.bindparam("type"), _types.name == sa.bindparam("type")))
_volumes = repositories.volumes.query(tables.volumes.c.group_id == sa.bindparam("group"))
_snapshots = repositories.snapshots.query(tables.snapshots.c.group_snapshot_id == sa.bindparam("group_snapshot"))
_REPLICATION = states.moves(states.GROUP_REPLICATION)


def group_type(conn: sa.Connection, id_or_name: str) -> GroupType:
    """A type by id or by name, as clients may give either. Raises NotFound."""
    found = group_types.run(conn, _type, type=id_or_name)
    if not found:
        raise errors.NotFound(resource="GroupType", id=id_or_name)
    return found[0]


def volumes_of(conn: sa.Connection, group_id: str) -> list[Volume]:
    """The volumes of a group, the oldest first."""
    return repositories.volumes.run(conn, _volumes, group=group_id)


def volume_ids_of(conn: sa.Connection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the volumes of each of these groups, by its id, the oldest first."""
    rows = tables.volumes.c
    found: dict[str, list[str]] = {id: [] for id in group_ids}
    query = sa.select(rows.group_id, rows.id).where(rows.group_id.in_(group_ids)).order_by(rows.created_at, rows.id)
    for group_id, id in conn.execute(query):
        found[group_id].append(id)
    return found


def snapshots_of(conn: sa.Connection, group_snapshot_id: str) -> list[Snapshot]:
    """The snapshots of a group snapshot, the oldest first."""
    return repositories.snapshots.run(conn, _snapshots, group_snapshot=group_snapshot_id)


def snapshots_of_group(conn: sa.Connection, group_id: str) -> list[GroupSnapshot]:
    """The group snapshots of a group."""
    return group_snapshots.select(conn, group_tables.group_snapshots.c.group_id == group_id)


def consistency_groups(conn: sa.Connection, ids: set[str], type_id: str) -> frozenset[str]:
    """Those of these groups that have the type of consistency groups."""
    if not ids:
        return frozenset()
    query = sa.select(_groups.id).where(_groups.id.in_(ids), _groups.group_type_id == type_id)
    return frozenset(conn.execute(query).scalars())


def lock_usable(conn: sa.Connection, id: str, project_id: str | None, action: str) -> Group:
    """The group, which stays `available` until the commit. Raises NotFound, InvalidState."""
    found = groups.get_for_update(conn, id, project_id)
    if found.status != "available":
        facts = {"resource": "Group", "id": id, "action": action, "status": found.status}
        raise errors.InvalidState(**facts, allowed=["available"])
    return found


def hold_volumes(conn: sa.Connection, volumes: list[Volume]) -> list[Volume]:
    """These volumes as they are now and stay until the commit: on PostgreSQL they may have changed since they were read.

    To be called after the check of quotas, as what extends a volume does: of two requests neither waits for the other then.
    """
    return repositories.volumes.hold(conn, [each.id for each in volumes], share=True)


def change_replication(conn: sa.Connection, id: str, sources: frozenset[str], target: str) -> bool:
    """Compare-and-swap of a group's replication status; False where it is none of `sources`. InternalError for a move that
    the table does not have.
    """
    if wrong := [source for source in sources if (source, target) not in _REPLICATION]:
        reason = f"no transition of model/states.py takes a group's replication from {wrong[0]} to {target}"
        raise errors.InternalError(reason=reason)
    where = (_groups.id == id, _groups.replication_status.in_(sources))
    changed = group_tables.groups.update().where(*where).values(replication_status=target)
    return conn.execute(changed).rowcount == 1
