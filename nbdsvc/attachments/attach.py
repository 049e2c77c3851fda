"""os-attach: record the instance or host that has a volume."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.attachments.initialize_connection import insert_legacy
from nbdsvc.model import clock, names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import repositories


def attach_volume(
    app: App, context: Context, id: str, instance_uuid: str | None, host_name: str | None, mountpoint: str, mode: str
) -> None:
    """Make the volume `in-use` and its attachment `attached`. Nothing to do when this instance or host has it already.

    Errors: NotFound; InvalidState; InvalidInput for an instance_uuid that is none, for a mode that is not that of the
    connection under way, and for rw on a read-only volume, which becomes `error_attaching`, as in Cinder.
    """
    if instance_uuid is not None and not names.is_id(instance_uuid.lower()):
        raise errors.InvalidInput(field="instance_uuid", value=instance_uuid, reason="must be a UUID")
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        existing = repositories.attachments_of(conn, id)
        if any(a.status == "attached" and _user(a) == (instance_uuid, host_name) for a in existing):
            again = states.VOLUME["attach again"]
            repositories.volumes.transition(conn, id, again.sources, "in-use", action="be attached")
            return
        is_refused = bool(volume.readonly) and mode != "ro"
        if is_refused:
            rule = states.VOLUME["attach"]
            repositories.volumes.transition(conn, id, rule.sources, "error_attaching", action="be attached")
        else:
            _complete(conn, volume, existing, instance_uuid, host_name, mountpoint, mode)
    if is_refused:  # after the commit of the status
        reason = f"volume {id} is read-only and cannot be attached in mode {mode}"
        raise errors.InvalidInput(field="mode", value=mode, reason=reason)


def _complete(
    conn: sa.Connection,
    volume: Volume,
    existing: list[Attachment],
    instance_uuid: str | None,
    host_name: str | None,
    mountpoint: str,
    mode: str,
) -> None:
    rule = states.VOLUME["attach multiattach" if volume.multiattach else "attach"]
    if volume.status == "attaching" and volume.attached_mode not in (None, mode) and not volume.multiattach:
        raise errors.InvalidInput(field="mode", value=mode, reason="the volume is being attached by different mode")
    repositories.volumes.transition(conn, volume.id, rule.sources, "in-use", action="be attached", attached_mode=mode)
    waiting = [a for a in existing if a.legacy and a.status == "attaching"]
    row = waiting[-1] if waiting else insert_legacy(conn, volume, None)
    repositories.attachments.transition(
        conn,
        row.id,
        states.ATTACHMENT["complete"].sources,
        "attached",
        action="be attached",
        instance_uuid=instance_uuid,
        attached_host=host_name or row.attached_host,
        mountpoint=mountpoint,
        mode=mode,
        attached_at=clock.now(),
    )


def _user(attachment: Attachment) -> tuple[str | None, str | None]:
    host = None if attachment.instance_uuid else attachment.attached_host
    return attachment.instance_uuid, host
