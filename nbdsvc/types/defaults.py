"""Default types of projects: the type of a volume whose request names none, in place of the service's own default."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import default_types, repositories
from nbdsvc.types.encryption import check_not_encrypted

_LONGEST_NAME = 255


def set_default(app: App, project_id: str, named: str) -> str:
    """Make a type, by id or name, the project's default one; returns its id.

    Raises InvalidInput for a type that does not exist, that the project may not use, or whose volumes are to be encrypted.
    """
    if not project_id.isprintable() or len(project_id) > _LONGEST_NAME:
        reason = f"must be printable text of at most {_LONGEST_NAME} characters"
        raise errors.InvalidInput(field="project_id", value=project_id[:80], reason=reason)
    with app.change() as conn:
        found = _named(conn, named)
        app.database.lock_name(conn, f"default-type-{project_id}")
        app.database.lock_name(conn, f"type-{found.id}")  # by what would take it from the project, see `refusal`
        found = _named(conn, found.id)
        if not may_use(found, project_id):
            reason = f"it is private, and project {project_id} has no access to it"
            raise errors.InvalidInput(field="default_type.volume_type", value=named[:80], reason=reason)
        check_not_encrypted(conn, found)
        default_types.put(conn, project_id, found.id)
        return found.id


def get_default(app: App, project_id: str) -> str:
    """The id of the project's own default type. Raises NotFound where it has none."""
    with app.database.read() as conn:
        found = default_types.of_project(conn, project_id)
    if found is None:
        raise _not_found(project_id)
    return found


def list_defaults(app: App) -> dict[str, str]:
    """The ids of the default types by project. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        return default_types.of_all(conn)


def unset_default(app: App, project_id: str) -> None:
    """The service's default counts for the project again. Raises NotFound where it has none of its own."""
    with app.change() as conn:
        if not default_types.remove(conn, project_id):
            raise _not_found(project_id)


def refusal(conn: sa.Connection, volume_type_id: str, without: str | None = None) -> str | None:
    """Why a type cannot be taken from a project (None: from all): it is its default. Call it with the type's name locked."""
    projects = [each for each in default_types.projects_of(conn, volume_type_id) if without in (None, each)]
    return f"it is the default type of project {projects[0]}" if projects else None


def may_use(found: VolumeType, project_id: str) -> bool:
    """Whether a project may use the type."""
    return found.is_public or project_id in found.projects


def _named(conn: sa.Connection, named: str) -> VolumeType:
    try:
        return repositories.volume_type(conn, named)
    except errors.NotFound as error:
        raise errors.InvalidInput(field="default_type.volume_type", value=named[:80], reason=str(error)) from None


def _not_found(project_id: str) -> errors.NotFound:
    return errors.NotFound(resource="Default type of project", id=project_id)
