"""Quotas. Limits are rows; use is counted from the volumes and snapshots themselves, so it cannot drift."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.store import tables
from nbdsvc.store.database import Database

RESOURCES = ("volumes", "snapshots", "gigabytes", "per_volume_gigabytes", "backups", "backup_gigabytes", "groups")
UNLIMITED = -1


def limits(conn: sa.Connection, project_id: str, defaults: dict[str, int]) -> dict[str, int]:
    """The project's limits: its own where set, else the defaults. -1 is unlimited."""
    table = tables.quota_limits
    own = conn.execute(sa.select(table.c.resource, table.c.limit).where(table.c.project_id == project_id))
    return {**defaults, **{str(row[0]): int(row[1]) for row in own}}


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
    volumes, snapshots = tables.volumes, tables.snapshots
    size = sa.func.coalesce(volumes.c.target_size, volumes.c.size)
    volume_count, volume_size = conn.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)).where(volumes.c.project_id == project_id)
    ).one()
    snapshot_count, snapshot_size = conn.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(snapshots.c.volume_size), 0)).where(
            snapshots.c.project_id == project_id
        )
    ).one()
    used = dict.fromkeys(RESOURCES, 0)
    used.update(volumes=volume_count, snapshots=snapshot_count, gigabytes=int(volume_size) + int(snapshot_size))
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
