"""Attachments by the attachments API: reserve, connect, complete, delete."""

import secrets
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.manager import ending, settling
from nbdsvc.manager.app import App, Waiting, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import clock, keys, names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import nouns

MODES = ("rw", "ro")
# 256 bits, as many as the strongest PSK cipher suite uses.
KEY_BYTES = 32


def reserve(app: App, context: Context, volume_id: str, instance_uuid: str | None, mode: str) -> Attachment:
    """A place for one user: row `reserved`, volume `reserved`, nothing exported yet."""
    with app.change() as conn:
        volume = nouns.volumes.get(conn, volume_id, owner_scope(context))
        existing = nouns.attachments_of(conn, volume_id)
        # The same instance may reserve again while it holds the volume: that is how it moves to another host.
        moving = instance_uuid is not None and any(a.instance_uuid == instance_uuid for a in existing)
        verb = "reserve attachment multiattach" if volume.multiattach or moving else "reserve attachment"
        if volume.status not in states.VOLUME[verb].sources:
            _refuse(volume, "be attached", states.VOLUME[verb].allowed())
        if volume.readonly and mode != "ro":
            raise errors.InvalidInput(field="mode", value=mode, reason="the volume is read-only")
        attachment = Attachment(
            id=names.new_id(),
            volume_id=volume_id,
            project_id=volume.project_id,
            status="reserved",
            instance_uuid=instance_uuid,
            mode=mode,
            secret=secrets.token_hex(KEY_BYTES),
        )
        nouns.attachments.insert(conn, attachment)
        target = volume.status if volume.status == "in-use" else "reserved"
        nouns.volumes.transition(conn, volume_id, states.VOLUME[verb].sources, target, action="be attached")
    return attachment


def connect(app: App, context: Context, id: str, connector: dict[str, Any], *, complete: bool) -> Waiting[Attachment]:
    """Export the volume to this connector. `complete`: no os-complete will follow (before 3.44)."""
    with app.change() as conn:
        attachment = nouns.attachments.get(conn, id, owner_scope(context))
        volume = nouns.volumes.get(conn, attachment.volume_id)
        mode = connector.get("mode") or attachment.mode
        check_mode(volume, mode)
        admitted = admit_connect(
            app, conn, context, volume, replace(attachment, mode=mode), connector, complete=complete
        )

    def connected() -> Attachment:
        with app.database.read() as conn:
            return nouns.attachments.get(conn, id)

    return Waiting((admitted,), app.settings.attach_timeout, connected)


def admit_connect(
    app: App,
    conn: sa.Connection,
    context: Context,
    volume: Volume,
    attachment: Attachment,
    connector: dict[str, Any],
    *,
    complete: bool,
) -> str:
    """In the caller's transaction: the row's new facts and the operation that exports. Returns the operation's id."""
    rule = states.ATTACHMENT["connect"]
    target = attachment.status if attachment.status == "attached" else "attaching"
    nouns.attachments.transition(
        conn,
        attachment.id,
        rule.sources,
        target,
        action="connect",
        connector=connector,
        attached_host=connector.get("host"),
        mountpoint=connector.get("mountpoint"),
        mode=attachment.mode,
    )
    if not attachment.legacy:
        settling.follow_attachments(conn, volume.id)
    args = {"volume_id": volume.id, "attachment_id": attachment.id, "complete": complete}
    held = locks("attachment.connect", volume=volume.id, attachment=attachment.id)
    admitted = operation(app, context, "attachment.connect", volume.host, ("volume", volume.id), held, args)
    return app.operations.admit(conn, admitted).id


def complete(app: App, context: Context, id: str) -> None:
    """The initiator has it (os-complete): attached, in-use."""
    with app.change() as conn:
        attachment = nouns.attachments.get(conn, id, owner_scope(context))
        rule = states.ATTACHMENT["complete"]
        if attachment.connector is None:
            raise errors.InvalidState(
                resource="VolumeAttachment",
                id=id,
                action="complete",
                status="reserved without connector",
                allowed=["attaching"],
            )
        nouns.attachments.transition(conn, id, rule.sources, "attached", action="complete", attached_at=clock.now())
        nouns.volumes.update(conn, attachment.volume_id, attached_mode=attachment.mode)
        settling.follow_attachments(conn, attachment.volume_id)


def delete(app: App, context: Context, id: str) -> Waiting[list[Attachment]]:
    """End this attachment's access at once. Its result: the volume's other attachments."""
    with app.database.read() as conn:
        nouns.attachments.get(conn, id, owner_scope(context))
    with ending.transaction(app, {id: "attachment.delete"}) as conn:
        attachment = nouns.attachments.get(conn, id, owner_scope(context))
        volume = nouns.volumes.get(conn, attachment.volume_id)
        admitted = admit_delete(app, conn, context, volume, id)

    def left() -> list[Attachment]:
        with app.database.read() as conn:
            return nouns.attachments_of(conn, volume.id)

    return Waiting((admitted,), app.settings.attach_timeout, left)


def admit_delete(app: App, conn: sa.Connection, context: Context, volume: Volume, id: str) -> str:
    nouns.attachments.transition(conn, id, states.ATTACHMENT["delete"].sources, "detaching", action="delete")
    return ending.admit(app, conn, context, "attachment.delete", volume, id)


def check_mode(volume: Volume, mode: str) -> None:
    if mode not in MODES:
        raise errors.InvalidInput(field="mode", value=mode, reason="must be rw or ro")
    if volume.readonly and mode != "ro":
        raise errors.InvalidInput(field="mode", value=mode, reason="the volume is read-only")


def connection_info(attachment: Attachment) -> dict[str, Any]:
    """What the initiator is told, with its key: the only place where the key leaves its row."""
    return keys.with_secret(attachment.connection_info or {}, attachment.secret)


def _refuse(volume: Volume, action: str, allowed: list[str]) -> None:
    raise errors.InvalidState(resource="Volume", id=volume.id, action=action, status=volume.status, allowed=allowed)
