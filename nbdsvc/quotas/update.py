"""Change the limits of a project."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.store import quotas

_LONGEST_ID = 255


def set_limits(app: App, project_id: str, limits: dict[str, int]) -> None:
    """Set limits by resource (-1: unlimited); the others stay. Raises InvalidInput for too long a project id."""
    if len(project_id) > _LONGEST_ID:
        raise errors.InvalidInput(field="project_id", value=project_id[:80], reason="is too long")
    with app.change() as conn:
        quotas.set_limits(conn, project_id, limits)


def reset_limits(app: App, project_id: str) -> None:
    """Give a project the default limits again. Raises BackendUnavailable without the database."""
    with app.change() as conn:
        quotas.reset_limits(conn, project_id)
