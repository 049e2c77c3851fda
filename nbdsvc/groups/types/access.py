"""Access of projects to private group types."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.groups import GroupType
from nbdsvc.store import groups


def add_group_type_access(app: App, id: str, project_id: str) -> None:
    """Let a project use a private type. Raises NotFound, InvalidInput for a public type, Conflict where it may already."""
    with app.change() as conn:
        found = _private(conn, id)
        if project_id in found.projects:
            raise errors.Conflict(reason=f"project {project_id} has access to group type {id} already")
        groups.group_types.update(conn, id, projects=[*found.projects, project_id])


def remove_group_type_access(app: App, id: str, project_id: str) -> None:
    """Let a project use a private type no more. Raises NotFound for type or project, InvalidInput for a public type."""
    with app.change() as conn:
        found = _private(conn, id)
        if project_id not in found.projects:
            raise errors.NotFound(resource="GroupTypeAccess", id=project_id)
        groups.group_types.update(conn, id, projects=[each for each in found.projects if each != project_id])


def _private(conn: sa.Connection, id: str) -> GroupType:
    found = groups.group_types.get_for_update(conn, id)
    if found.is_public:
        raise errors.InvalidInput(field="group_type", value=id, reason="a public type has no access list")
    return found
