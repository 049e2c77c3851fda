"""Volume types and their extra specs."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.manager.app import App
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import nouns, tables


def visible(found: VolumeType, context: Context) -> bool:
    return found.is_public or context.is_admin or context.project_id in found.projects


def listing(app: App, context: Context) -> list[VolumeType]:
    with app.database.read() as conn:
        return [found for found in nouns.volume_types.select(conn) if visible(found, context)]


def get(app: App, context: Context, id: str) -> VolumeType:
    with app.database.read() as conn:
        found = nouns.volume_type(conn, id)
    if not visible(found, context):
        raise errors.NotFound(resource="VolumeType", id=id)
    return found


def by_id(conn: sa.Connection) -> dict[str, str]:
    """The names of all types."""
    return {found.id: found.name for found in nouns.volume_types.select(conn)}


def default(app: App) -> VolumeType:
    with app.database.read() as conn:
        return default_in(app, conn)


def default_in(app: App, conn: sa.Connection) -> VolumeType:
    """The type of a volume whose creation names none; NotFound where the setting names one that there is not."""
    return nouns.volume_type(conn, app.settings.default_volume_type)


def usable(app: App, conn: sa.Connection, context: Context, wanted: str | None) -> VolumeType:
    """The type of this name or id for a new volume; None: the default one. NotFound where the project may not use it."""
    if wanted is None:
        return default_in(app, conn)
    found = nouns.volume_type(conn, wanted)
    if not visible(found, context):
        raise errors.NotFound(resource="VolumeType", id=wanted)
    return found


def of(app: App, id: str | None) -> VolumeType:
    """A volume's type, by its row."""
    with app.database.read() as conn:
        return (nouns.volume_types.find(conn, id) if id else None) or default_in(app, conn)


def create(app: App, name: str, description: str | None, is_public: bool, extra_specs: dict[str, str]) -> VolumeType:
    with app.change() as conn:
        _check_name(app, conn, name, None)
        made = VolumeType(names.new_id(), name, description, is_public, extra_specs)
        return nouns.volume_types.insert(conn, made)


def update(app: App, id: str, **changes: Any) -> VolumeType:
    with app.change() as conn:
        nouns.volume_types.get(conn, id)
        if "name" in changes:
            _check_name(app, conn, changes["name"], id)
        nouns.volume_types.update(conn, id, **changes)
        return nouns.volume_types.get(conn, id)


def delete(app: App, id: str) -> None:
    with app.change() as conn:
        found = nouns.volume_types.get(conn, id)
        if app.settings.default_volume_type in (found.id, found.name):
            raise errors.InvalidInput(field="volume_type", value=id, reason="the default type cannot be deleted")
        used = nouns.volumes.count(conn, tables.volumes.c.volume_type_id == id)
        if used:
            raise errors.InvalidInput(field="volume_type", value=id, reason=f"{used} volumes have this type")
        nouns.volume_types.delete(conn, id)


def edit_extra_specs(app: App, id: str, changes: dict[str, str | None]) -> dict[str, str]:
    """Set keys, or remove them with None."""
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        before = nouns.volume_types.get(conn, id).extra_specs
        missing = [key for key, value in changes.items() if value is None and key not in before]
        if missing:
            raise errors.NotFound(resource="Extra spec", id=missing[0])
        after = {key: value for key, value in {**before, **changes}.items() if value is not None}
        nouns.volume_types.update(conn, id, extra_specs=after)
    return after


def edit_access(app: App, id: str, project_id: str, *, add: bool) -> None:
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        found = nouns.volume_types.get(conn, id)
        if found.is_public:
            raise errors.InvalidInput(field="volume_type", value=id, reason="a public type has no access list")
        if add == (project_id in found.projects):
            if add:
                raise errors.Conflict(reason=f"project {project_id} has access to type {id} already")
            raise errors.NotFound(resource="VolumeTypeAccess", id=project_id)
        projects = [*found.projects, project_id] if add else [p for p in found.projects if p != project_id]
        nouns.volume_types.update(conn, id, projects=projects)


def _check_name(app: App, conn: Any, name: str, own_id: str | None) -> None:
    app.database.lock_name(conn, "type-names")
    taken = nouns.volume_types.select(conn, tables.volume_types.c.name == name)
    if taken and taken[0].id != own_id:
        raise errors.Conflict(reason=f"a volume type called {name} exists already")
