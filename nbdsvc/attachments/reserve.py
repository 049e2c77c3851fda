"""Reserving a volume: a row for one user, before anything is exported."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.attachments.access_mode import new_secret
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import repositories


def reserve_attachment(app: App, context: Context, volume_id: str, instance_uuid: str | None, mode: str) -> Attachment:
    """The new attachment, `reserved`, as its volume is. The same instance may reserve a volume again that it has: that is
    how it moves to another host.

    Errors: NotFound; InvalidState; InvalidInput when `mode` is rw and the volume read-only.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, volume_id, owner_scope(context))
        existing = repositories.attachments_of(conn, volume_id)
        moving = instance_uuid is not None and any(a.instance_uuid == instance_uuid for a in existing)
        verb = "reserve attachment multiattach" if volume.multiattach or moving else "reserve attachment"
        if volume.status not in states.VOLUME[verb].sources:
            _refuse(volume, states.VOLUME[verb].allowed())
        if volume.readonly and mode != "ro":
            raise errors.InvalidInput(field="mode", value=mode, reason="the volume is read-only")
        attachment = Attachment(
            id=names.new_id(),
            volume_id=volume_id,
            project_id=volume.project_id,
            status="reserved",
            instance_uuid=instance_uuid,
            mode=mode,
            secret=new_secret(),
        )
        repositories.attachments.insert(conn, attachment)
        target = volume.status if volume.status == "in-use" else "reserved"
        repositories.volumes.transition(conn, volume_id, states.VOLUME[verb].sources, target, action="be attached")
    return attachment


def _refuse(volume: Volume, allowed: list[str]) -> None:
    raise errors.InvalidState(
        resource="Volume", id=volume.id, action="be attached", status=volume.status, allowed=allowed
    )
