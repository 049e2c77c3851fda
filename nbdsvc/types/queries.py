"""Queries of volume types: all, those that a project may use, and the type of a volume."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import default_types, repositories


def list_types(app: App, context: Context) -> list[VolumeType]:
    """The types that the project may use; all of them for an administrator.

    Raises BackendUnavailable without the database.
    """
    with app.database.read() as conn:
        return [found for found in repositories.volume_types.select(conn) if _is_visible(found, context)]


def get_type(app: App, context: Context, id: str) -> VolumeType:
    """A type by id or name. Raises NotFound, also for one that the project may not use."""
    with app.database.read() as conn:
        return _visible_type(conn, context, id)


def default_type(app: App, context: Context) -> VolumeType:
    """The type of a volume whose request names none: the project's default one, or the service's.

    Raises NotFound where the setting names one that there is not.
    """
    with app.database.read() as conn:
        return _default_of(app, conn, context)


def type_of_volume(app: App, volume_type_id: str | None) -> VolumeType:
    """The type of a volume's row. Raises NotFound where it has none and there is no default."""
    with app.database.read() as conn:
        return (repositories.volume_types.find(conn, volume_type_id) if volume_type_id else None) or _default(app, conn)


def usable_type(app: App, conn: sa.Connection, context: Context, named: str | None) -> VolumeType:
    """The type that a request names by id or name, or the default one. Raises NotFound as `get_type`."""
    return _default_of(app, conn, context) if named is None else _visible_type(conn, context, named)


def type_names(app: App, conn: sa.Connection) -> tuple[dict[str, str], VolumeType]:
    """The names of all types by id, and the default one. Raises NotFound where there is no default."""
    types, default = repositories.volume_types.select(conn), app.settings.default_volume_type
    for each in types:
        if default in (each.id, each.name):
            return {found.id: found.name for found in types}, each
    raise errors.NotFound(resource="VolumeType", id=default)


def _default_of(app: App, conn: sa.Connection, context: Context) -> VolumeType:
    """Its own default is not taken from a project, see types/defaults.py; so the project may use it."""
    own = default_types.of_project(conn, context.project_id)
    return repositories.volume_types.get(conn, own) if own else _default(app, conn)


def _default(app: App, conn: sa.Connection) -> VolumeType:
    return repositories.volume_type(conn, app.settings.default_volume_type)


def _visible_type(conn: sa.Connection, context: Context, id: str) -> VolumeType:
    found = repositories.volume_type(conn, id)
    if not _is_visible(found, context):
        raise errors.NotFound(resource="VolumeType", id=id)
    return found


def _is_visible(found: VolumeType, context: Context) -> bool:
    return found.is_public or context.is_admin or context.project_id in found.projects
