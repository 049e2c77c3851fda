"""Queries of backups: which one an incremental one builds on, and how many build on one."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from nbdsvc.model.entities import Backup
from nbdsvc.store import backup_tables, repositories

_c = backup_tables.backups.c


def newest(conn: sa.Connection, project_id: str, volume_id: str, before: datetime | None = None) -> Backup | None:
    """The project's newest whole backup of the volume; `before`: whose data are not newer."""
    where = [_c.project_id == project_id, _c.volume_id == volume_id, _c.status.in_(("available", "restoring"))]
    if before is not None:
        where.append(_c.data_timestamp <= before)
    query = repositories.backups.query(*where).order_by(None).order_by(_c.data_timestamp.desc(), _c.created_at.desc())
    found = repositories.backups.run(conn, query.limit(1))
    return found[0] if found else None


def with_dependents(conn: sa.Connection, ids: Sequence[str]) -> frozenset[str]:
    """Those of these backups on which others build, counted from the rows."""
    query = sa.select(_c.parent_id).where(_c.parent_id.in_(ids)).distinct()
    return frozenset(str(id) for id in conn.execute(query).scalars()) if ids else frozenset()
