"""Queries of group types: all that a project may use, one, and the default one."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.model.groups import GroupType
from nbdsvc.store import groups


def list_group_types(app: App, context: Context) -> list[GroupType]:
    """The types that the project may use; all of them for an administrator.

    Raises BackendUnavailable without the database.
    """
    with app.database.read() as conn:
        return [found for found in groups.group_types.select(conn) if _is_visible(found, context)]


def get_group_type(app: App, context: Context, id: str) -> GroupType:
    """A type by id or name. Raises NotFound, also for one that the project may not use."""
    with app.database.read() as conn:
        return usable_group_type(conn, context, id)


def default_group_type(app: App, context: Context) -> GroupType:
    """The type that the setting names. Raises NotFound where it names none, or one that the project may not use."""
    named = app.settings.default_group_type
    if not named:
        raise errors.NotFound(resource="Default group type", id="without a name")
    return get_group_type(app, context, named)


def usable_group_type(conn: sa.Connection, context: Context, named: str) -> GroupType:
    """As `get_group_type`, in a transaction that the caller has open."""
    found = groups.group_type(conn, named)
    if not _is_visible(found, context):
        raise errors.NotFound(resource="GroupType", id=named)
    return found


def _is_visible(found: GroupType, context: Context) -> bool:
    return found.is_public or context.is_admin or context.project_id in found.projects
