"""Change what needs no work on the backend: name, description, metadata, bootable, the read-only flag."""

from typing import Any

from nbdsvc.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.store import backends, repositories


def update_volume(app: App, context: Context, id: str, **changes: Any) -> Volume:
    """Set these columns (never the status) and return the row. NotFound, Frozen."""
    with app.change() as conn:
        backends.check_not_frozen(conn, repositories.volumes.get(conn, id, owner_scope(context)).full_host)
        repositories.volumes.get_for_update(conn, id, owner_scope(context))
        repositories.volumes.update(conn, id, **changes)
        return repositories.volumes.get(conn, id)


def set_readonly(app: App, context: Context, id: str, *, readonly: bool) -> None:
    """Set the read-only flag (os-update_readonly_flag).

    NotFound; Frozen; InvalidState unless the volume is available: an attachment that exists would go on writing.
    """
    rule = states.VOLUME["update readonly flag"]
    with app.change() as conn:
        backends.check_not_frozen(conn, repositories.volumes.get(conn, id, owner_scope(context)).full_host)
        repositories.volumes.get_for_update(conn, id, owner_scope(context))
        action = "have its read-only flag updated"
        repositories.volumes.transition(conn, id, rule.sources, "available", action=action, readonly=readonly)
