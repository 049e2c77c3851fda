"""Quota classes. The limits of `default` apply to projects without limits of their own; others are only stored."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.store import quotas

_LONGEST_NAME = 255


def limits_of_class(app: App, name: str) -> dict[str, int]:
    """The limits of a class, by resource; those that are not set come from the settings. Raises BackendUnavailable."""
    with app.database.read() as conn:
        return quotas.class_limits(conn, name, app.settings.quotas)


def set_class_limits(app: App, name: str, limits: dict[str, int]) -> dict[str, int]:
    """Set limits of a class (-1: unlimited) and return all; the others stay. InvalidInput for too long a name."""
    if len(name) > _LONGEST_NAME:
        raise errors.InvalidInput(field="quota_class_name", value=name[:80], reason="is too long")
    with app.change() as conn:
        app.database.lock_name(conn, f"quota-class-{name}")
        quotas.set_class_limits(conn, name, limits)
        return quotas.class_limits(conn, name, app.settings.quotas)
