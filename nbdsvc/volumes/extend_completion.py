"""os-extend_volume_completion (microversion 3.71): a hypervisor reports how its part of an extension ended.

It is for storage whose volumes only a hypervisor can grow while it has them. No driver of ours is such: an extension ends
by its operation, and the exports tell initiators the new size. So there is never a volume that waits for the report.
"""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.store import repositories


def complete_extension(app: App, context: Context, id: str) -> None:
    """Refuse the report. Raises NotFound; InvalidState where the volume is not being extended, and Conflict where it is."""
    with app.database.read() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
    if volume.status != "extending":
        facts = {"resource": "Volume", "id": id, "action": "have its extension completed", "status": volume.status}
        raise errors.InvalidState(**facts, allowed=["extending"])
    raise errors.Conflict(reason=f"an operation extends volume {id}, and sets its status itself")
