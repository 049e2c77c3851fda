"""os-migrate_volume_completion: a hypervisor has copied a volume in use into another one, and uses that from now on."""

from nbdsvc import errors
from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments.attach import attach_volume
from nbdsvc.attachments.detach import detach_volume
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import repositories


def complete_migration(app: App, context: Context, id: str, new_volume_id: str, *, error: bool) -> Waiting[str]:
    """Give the users of the volume to the new one, and end their access to the old one; with `error` nothing changes.

    The result is the id of the volume that its user keeps, as in Cinder. A migration of ours needs no hypervisor, so that
    a volume of one is refused: InvalidInput. Raises NotFound, and what attach_volume and detach_volume raise.
    """
    with app.database.read() as conn:
        volume, new = (repositories.volumes.get(conn, each, owner_scope(context)) for each in (id, new_volume_id))
        attached = [each for each in repositories.attachments_of(conn, id) if each.status == "attached"]
    _check(volume, new)
    moved = [] if error else attached
    ended = [operation for each in moved for operation in _hand_over(app, context, each, new_volume_id)]
    return Waiting(tuple(ended), app.settings.attach_timeout, lambda: new_volume_id)


def _check(volume: Volume, new: Volume) -> None:
    """In Cinder's words. The new volume of a migration of Cinder has the status `target:ID`; there are none here."""
    if not volume.migration_status and not new.migration_status:
        return
    side = "Destination" if volume.migration_status else "Source"
    reason = f"{side} volume not mid-migration."
    raise errors.InvalidInput(field="new_volume", value=new.id, reason=reason)


def _hand_over(app: App, context: Context, attachment: Attachment, new_volume_id: str) -> tuple[str, ...]:
    """The operations that end the access to the old volume. First the new one: a refusal then changes nothing."""
    user = (attachment.instance_uuid, None if attachment.instance_uuid else attachment.attached_host)
    attach_volume(app, context, new_volume_id, *user, attachment.mountpoint or "", attachment.mode)
    return detach_volume(app, context, attachment.volume_id, attachment.id).operations
