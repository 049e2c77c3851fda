"""Which volumes a list has."""

from typing import Any

from nbdsvc.store import tables


def of_project(project_id: str | None) -> list[Any]:
    """The conditions for a project's volumes; None: every project's."""
    return [tables.volumes.c.project_id == project_id] if project_id is not None else []
