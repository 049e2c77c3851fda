"""Create, update and delete a volume type."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import names
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import default_types, moves, repositories, tables
from nbdsvc.types.defaults import refusal


def create_type(
    app: App, name: str, description: str | None, is_public: bool, extra_specs: dict[str, str]
) -> VolumeType:
    """Add a type. Raises Conflict where the name is taken."""
    with app.change() as conn:
        _check_name(app, conn, name, None)
        return repositories.volume_types.insert(
            conn, VolumeType(names.new_id(), name, description, is_public, extra_specs)
        )


def update_type(app: App, id: str, **changes: Any) -> VolumeType:
    """Change name, description or is_public.

    Raises NotFound, Conflict where the name is taken, and InvalidInput where it would be private to a project whose default
    type it is.
    """
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        found = repositories.volume_types.get(conn, id)
        if changes.get("is_public") is False:
            _check_private(conn, found)
        if "name" in changes:
            _check_name(app, conn, changes["name"], id)
        repositories.volume_types.update(conn, id, **changes)
        return repositories.volume_types.get(conn, id)


def delete_type(app: App, id: str) -> None:
    """Remove a type. Raises NotFound, and InvalidInput for a default type or one that volumes have, or are being given."""
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        found = repositories.volume_types.get_for_update(conn, id)  # who gives it to a volume holds it until its commit
        if reason := _in_use_reason(app, conn, found):
            raise errors.InvalidInput(field="volume_type", value=id, reason=reason)
        repositories.volume_types.delete(conn, id)


def _in_use_reason(app: App, conn: sa.Connection, found: VolumeType) -> str | None:
    if app.settings.default_volume_type in (found.id, found.name):
        return "the default type cannot be deleted"
    used = repositories.volumes.count(conn, tables.volumes.c.volume_type_id == found.id)
    if used:
        return f"{used} volumes have this type"
    given = moves.being_given(conn, found.id)
    if given:
        return f"{given} volumes are being given this type by a retype: wait for its end, or cancel it"
    return refusal(conn, found.id)


def _check_private(conn: sa.Connection, found: VolumeType) -> None:
    for project in default_types.projects_of(conn, found.id):
        if project not in found.projects:
            reason = f"it is the default type of project {project}, which would have no access to it"
            raise errors.InvalidInput(field="is_public", value="false", reason=reason)


def _check_name(app: App, conn: sa.Connection, name: str, own_id: str | None) -> None:
    app.database.lock_name(conn, "type-names")
    taken = repositories.volume_types.select(conn, tables.volume_types.c.name == name)
    if taken and taken[0].id != own_id:
        raise errors.Conflict(reason=f"a volume type called {name} exists already")
