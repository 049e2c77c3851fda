"""Quota classes. The class `default` is what projects without limits of their own have; others are kept and answered."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.store import quotas

_LONGEST_NAME = 255


def limits_of_class(app: App, name: str) -> dict[str, int]:
    """The limits of a class, by resource; what it does not set is as in the settings. Raises BackendUnavailable."""
    with app.database.read() as conn:
        return quotas.class_limits(conn, name, app.settings.quotas)


def set_class_limits(app: App, name: str, limits: dict[str, int]) -> dict[str, int]:
    """Set limits of a class, -1 for unlimited; the others stay. Returns all. InvalidInput for a name that is too long."""
    if len(name) > _LONGEST_NAME:
        raise errors.InvalidInput(field="quota_class_name", value=name[:80], reason="is too long")
    with app.change() as conn:
        app.database.lock_name(conn, f"quota-class-{name}")
        quotas.set_class_limits(conn, name, limits)
        return quotas.class_limits(conn, name, app.settings.quotas)
