"""Set and remove the group specs of a group type."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.groups.types.change import check_changeable
from nbdsvc.store import groups


def edit_group_specs(app: App, id: str, changes: dict[str, str | None]) -> dict[str, str]:
    """Set keys, or remove them by None; returns all that it has then. Raises NotFound for the type or a key to remove, and
    InvalidInput for the type of consistency groups.
    """
    with app.change() as conn:
        found = groups.group_types.get_for_update(conn, id)
        check_changeable(found)
        missing = [key for key, value in changes.items() if value is None and key not in found.group_specs]
        if missing:
            raise errors.NotFound(resource="Group spec", id=missing[0])
        after = {key: value for key, value in {**found.group_specs, **changes}.items() if value is not None}
        groups.group_types.update(conn, id, group_specs=after)
    return after
