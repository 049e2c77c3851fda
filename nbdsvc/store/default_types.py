"""The rows of default_types: the volume type of a project whose requests name none."""

import sqlalchemy as sa

from nbdsvc.store import tables

_table, _c = tables.default_types, tables.default_types.c
_of_project = sa.select(_c.volume_type_id).where(_c.project_id == sa.bindparam("project"))


def of_project(conn: sa.Connection, project_id: str) -> str | None:
    """The id of the project's own default type; None where it has none."""
    found: str | None = conn.execute(_of_project, {"project": project_id}).scalar()
    return found


def of_all(conn: sa.Connection) -> dict[str, str]:
    """The ids of all of them by project."""
    return {row.project_id: row.volume_type_id for row in conn.execute(sa.select(_table).order_by(_c.project_id))}


def projects_of(conn: sa.Connection, volume_type_id: str) -> list[str]:
    """The projects whose default this type is."""
    query = sa.select(_c.project_id).where(_c.volume_type_id == volume_type_id).order_by(_c.project_id)
    return list(conn.execute(query).scalars())


def put(conn: sa.Connection, project_id: str, volume_type_id: str) -> None:
    """Set a project's default type. The caller holds the lock of the project's name."""
    remove(conn, project_id)
    conn.execute(_table.insert(), {"project_id": project_id, "volume_type_id": volume_type_id})


def remove(conn: sa.Connection, project_id: str) -> bool:
    """Unset it; False where the project has none."""
    return conn.execute(_table.delete().where(_c.project_id == project_id)).rowcount == 1
