"""Access of projects to private volume types."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import repositories
from nbdsvc.types.defaults import refusal


def add_access(app: App, id: str, project_id: str) -> None:
    """Let a project use a private type. Raises NotFound, InvalidInput for a public type, Conflict where it may already."""
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        found = _private(repositories.volume_types.get(conn, id))
        if project_id in found.projects:
            raise errors.Conflict(reason=f"project {project_id} has access to type {id} already")
        repositories.volume_types.update(conn, id, projects=[*found.projects, project_id])


def remove_access(app: App, id: str, project_id: str) -> None:
    """Let a project use a private type no more. Raises NotFound for type or project, InvalidInput for a public type, and
    where it is the project's default one.
    """
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        found = _private(repositories.volume_types.get(conn, id))
        if project_id not in found.projects:
            raise errors.NotFound(resource="VolumeTypeAccess", id=project_id)
        if reason := refusal(conn, id, project_id):
            raise errors.InvalidInput(field="project", value=project_id[:80], reason=reason)
        repositories.volume_types.update(conn, id, projects=[each for each in found.projects if each != project_id])


def _private(found: VolumeType) -> VolumeType:
    if found.is_public:
        raise errors.InvalidInput(field="volume_type", value=found.id, reason="a public type has no access list")
    return found
