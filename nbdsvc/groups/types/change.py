"""Create, update and delete a group type."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import names
from nbdsvc.model.groups import CG_TYPE_ID, GroupType
from nbdsvc.store import group_tables, groups


def create_group_type(
    app: App, name: str, description: str | None, is_public: bool, group_specs: dict[str, str]
) -> GroupType:
    """Add a type. Raises Conflict where the name is taken."""
    with app.change() as conn:
        _check_name(app, conn, name, None)
        made = GroupType(names.new_id(), name, description, is_public, group_specs)
        return groups.group_types.insert(conn, made)


def update_group_type(app: App, id: str, **changes: Any) -> GroupType:
    """Change name, description or is_public. Raises NotFound, Conflict where the name is taken, and InvalidInput for the type
    of consistency groups.
    """
    with app.change() as conn:
        check_changeable(groups.group_types.get(conn, id))
        if "name" in changes:
            _check_name(app, conn, changes["name"], id)
        groups.group_types.update(conn, id, **changes)
        return groups.group_types.get(conn, id)


def delete_group_type(app: App, id: str) -> None:
    """Remove a type. Raises NotFound, and InvalidInput for one that groups have, the default one, and that of consistency
    groups.
    """
    with app.change() as conn:
        found = groups.group_types.get_for_update(conn, id)
        check_changeable(found)
        if reason := _in_use_reason(app, conn, found):
            raise errors.InvalidInput(field="group_type", value=id, reason=reason)
        groups.group_types.delete(conn, id)


def check_changeable(found: GroupType) -> None:
    """InvalidInput for the type of consistency groups, by which the older API finds them."""
    if found.id == CG_TYPE_ID:
        reason = "it is the type of consistency groups, which stays as it is"
        raise errors.InvalidInput(field="group_type", value=found.id, reason=reason)


def _in_use_reason(app: App, conn: sa.Connection, found: GroupType) -> str | None:
    if app.settings.default_group_type in (found.id, found.name):
        return "the default group type cannot be deleted"
    used = groups.groups.count(conn, group_tables.groups.c.group_type_id == found.id)
    return f"{used} groups have this type" if used else None


def _check_name(app: App, conn: sa.Connection, name: str, own_id: str | None) -> None:
    app.database.lock_name(conn, "group-type-names")
    taken = groups.group_types.select(conn, group_tables.group_types.c.name == name)
    if taken and taken[0].id != own_id:
        raise errors.Conflict(reason=f"a group type called {name} exists already")
