"""The quotas of a project, and its use of them."""

from dataclasses import dataclass
from typing import Any

from nbdsvc.app import App
from nbdsvc.quotas.classes import limits_of_class
from nbdsvc.store import quotas


@dataclass(frozen=True)
class QuotaSet:
    """The quotas of a project, by resource: counts, and GiB of gigabytes; a limit of -1 is unlimited."""

    limits: dict[str, int]
    used: dict[str, int]

    def detailed(self) -> dict[str, dict[str, Any]]:
        """Each limit with the project's use."""
        return {
            name: {"limit": limit, "in_use": self.used.get(name, 0), "reserved": 0}
            for name, limit in self.limits.items()
        }


def default_limits(app: App) -> dict[str, int]:
    """The limits of a project without limits of its own: those of the class `default`. Raises BackendUnavailable."""
    return limits_of_class(app, "default")


def quotas_of(app: App, project_id: str) -> QuotaSet:
    """The quotas of a project; one without rows has the defaults, and uses nothing.

    Raises BackendUnavailable without the database.
    """
    with app.database.read() as conn:
        limits = quotas.limits(conn, project_id, app.settings.quotas)
        return QuotaSet(limits, quotas.usage(conn, project_id))
