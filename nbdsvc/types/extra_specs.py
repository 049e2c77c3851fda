"""Set and remove the extra specs of a volume type."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.store import moves, repositories


def edit_extra_specs(app: App, id: str, changes: dict[str, str | None]) -> dict[str, str]:
    """Set keys, or remove them by None; returns all that it has then. Raises NotFound for the type or a key to remove,
    Conflict while a volume is being given the type: its pool was chosen by the extra specs as they are.
    """
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{id}")
        after = changed(repositories.volume_types.get_for_update(conn, id).extra_specs, changes)
        if given := moves.being_given(conn, id):
            reason = f"{given} volumes are being given type {id} by a retype: wait for its end, or cancel it"
            raise errors.Conflict(reason=reason)
        repositories.volume_types.update(conn, id, extra_specs=after)
    return after


def changed(before: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """`before` with the changes. Raises NotFound for a key to remove that is not there."""
    missing = [key for key, value in changes.items() if value is None and key not in before]
    if missing:
        raise errors.NotFound(resource="Extra spec", id=missing[0])
    return {key: value for key, value in {**before, **changes}.items() if value is not None}
