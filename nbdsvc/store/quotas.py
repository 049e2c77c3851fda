"""Quotas. Limits are rows; use is counted from the volumes, snapshots and backups themselves, so it cannot drift."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.store import backup_tables, group_tables, tables
from nbdsvc.store.database import Database

RESOURCES = ("volumes", "snapshots", "gigabytes", "per_volume_gigabytes", "backups", "backup_gigabytes", "groups")
UNLIMITED = -1


_volumes, _snapshots, _backups, _limits = (
    tables.volumes.c,
    tables.snapshots.c,
    backup_tables.backups.c,
    tables.quota_limits.c,
)
_project: sa.BindParameter[str] = sa.bindparam("project")
_classes = tables.quota_classes.c
_DEFAULT_CLASS = "default"
_class_limits = sa.select(_classes.resource, _classes.limit).where(_classes.name == sa.bindparam("class"))
# What every project has comes first, because its own limits replace that.
_own_limits = sa.union_all(
    sa.select(_classes.resource, _classes.limit, sa.literal(0).label("rank")).where(_classes.name == _DEFAULT_CLASS),
    sa.select(_limits.resource, _limits.limit, sa.literal(1).label("rank")).where(_limits.project_id == _project),
).order_by("rank")
_use = [
    sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)).where(project_id == _project)
    for size, project_id in (
        (sa.func.coalesce(_volumes.target_size, _volumes.size), _volumes.project_id),
        (_snapshots.volume_size, _snapshots.project_id),
        (_backups.size, _backups.project_id),
    )
]


_groups_used = sa.select(sa.func.count()).where(group_tables.groups.c.project_id == _project)


def limits(conn: sa.Connection, project_id: str, defaults: dict[str, int]) -> dict[str, int]:
    """The project's limits: its own where set, else those of the class `default`, else these. -1 is unlimited."""
    own = conn.execute(_own_limits, {"project": project_id})
    return {**defaults, **{str(row[0]): int(row[1]) for row in own}}


def class_limits(conn: sa.Connection, name: str, defaults: dict[str, int]) -> dict[str, int]:
    """The limits of a class: its own where set, else the defaults."""
    found = conn.execute(_class_limits, {"class": name})
    return {**defaults, **{str(row[0]): int(row[1]) for row in found}}


def set_class_limits(conn: sa.Connection, name: str, wanted: dict[str, int]) -> None:
    table = tables.quota_classes
    for resource, limit in wanted.items():
        conn.execute(table.delete().where(table.c.name == name, table.c.resource == resource))
        conn.execute(table.insert().values(name=name, resource=resource, limit=limit))


def set_limits(conn: sa.Connection, project_id: str, wanted: dict[str, int]) -> None:
    table = tables.quota_limits
    for resource, limit in wanted.items():
        conn.execute(table.delete().where(table.c.project_id == project_id, table.c.resource == resource))
        conn.execute(table.insert().values(project_id=project_id, resource=resource, limit=limit))


def reset_limits(conn: sa.Connection, project_id: str) -> None:
    conn.execute(tables.quota_limits.delete().where(tables.quota_limits.c.project_id == project_id))


def usage(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """What the project uses now: counts and GiB. Snapshots count against gigabytes, as in Cinder by default.

    A volume that is being extended counts with the size it will have.
    """
    (volume_count, volume_size), (snapshot_count, snapshot_size), (backup_count, backup_size) = (
        conn.execute(query, {"project": project_id}).one() for query in _use
    )
    used = dict.fromkeys(RESOURCES, 0)
    used.update(volumes=volume_count, snapshots=snapshot_count, gigabytes=int(volume_size) + int(snapshot_size))
    used.update(groups=conn.execute(_groups_used, {"project": project_id}).scalar_one())
    used.update(backups=backup_count, backup_gigabytes=int(backup_size))
    return used


def check(
    database: Database, conn: sa.Connection, project_id: str, defaults: dict[str, int], wanted: dict[str, int]
) -> None:
    """QuotaExceeded if the project may not have `wanted` more. Holds the project's name lock until the commit."""
    database.lock_name(conn, f"quota-{project_id}")
    allowed, used = limits(conn, project_id, defaults), usage(conn, project_id)
    for resource, requested in wanted.items():
        limit = allowed.get(resource, UNLIMITED)
        if limit != UNLIMITED and used.get(resource, 0) + requested > limit:
            raise errors.QuotaExceeded(resource=resource, limit=limit, used=used.get(resource, 0), requested=requested)


def check_volume_size(conn: sa.Connection, project_id: str, defaults: dict[str, int], size: int) -> None:
    """QuotaExceeded if one volume of the project may not have `size` GiB."""
    limit = limits(conn, project_id, defaults)["per_volume_gigabytes"]
    if limit != UNLIMITED and size > limit:
        raise errors.QuotaExceeded(resource="per_volume_gigabytes", limit=limit, used=0, requested=size)
