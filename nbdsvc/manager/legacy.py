"""Attaching by volume actions (os-reserve ... os-detach), as clients before the attachments API do it, and Terraform.

The rows are attachments like all others, marked `legacy`; those that os-attach has not completed are not shown.
"""

import secrets
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.manager import attachments, ending, settling
from nbdsvc.manager.app import App, Waiting, owner_scope
from nbdsvc.model import clock, names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import nouns


def reserve(app: App, context: Context, id: str) -> None:
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        rule = states.VOLUME["reserve multiattach" if volume.multiattach else "reserve"]
        nouns.volumes.transition(conn, id, rule.sources, "attaching", action="be reserved")


def unreserve(app: App, context: Context, id: str) -> None:
    """attaching -> available or in-use; from any other status silently nothing, as the field's clients expect."""
    with app.change() as conn:
        nouns.volumes.get(conn, id, owner_scope(context))
        settling.volume(conn, id, "attaching", states.PREVIOUS)


def begin_detaching(app: App, context: Context, id: str) -> None:
    rule = states.VOLUME["begin detaching"]
    with app.change() as conn:
        nouns.volumes.get(conn, id, owner_scope(context))
        nouns.volumes.transition(conn, id, rule.sources, "detaching", action="begin detaching")


def roll_detaching(app: App, context: Context, id: str) -> None:
    """detaching -> in-use; never an error."""
    with app.change() as conn:
        nouns.volumes.get(conn, id, owner_scope(context))
        settling.volume(conn, id, "detaching", "in-use")


def initialize_connection(app: App, context: Context, id: str, connector: dict[str, Any]) -> Waiting[dict[str, Any]]:
    """Export to this connector; the result is its connection_info (row S029)."""
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if volume.status in states.VOLUME_IN_FLIGHT:
            raise errors.InvalidState(
                resource="Volume",
                id=id,
                action="be connected",
                status=volume.status,
                allowed=["available", "attaching", "in-use"],
            )
        attachment = _of_connector(conn, id, connector) or _new(conn, volume, connector)
        admitted = attachments.admit_connect(app, conn, context, volume, attachment, connector, complete=False)

    def info() -> dict[str, Any]:
        with app.database.read() as conn:
            return attachments.connection_info(nouns.attachments.get(conn, attachment.id))

    return Waiting((admitted,), app.settings.attach_timeout, info)


def terminate_connection(app: App, context: Context, id: str, connector: dict[str, Any] | None) -> Waiting[None]:
    """Disallow this connector (row S030); without one, every legacy connector of the volume."""
    with ending.transaction(app) as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        rows = [a for a in nouns.attachments_of(conn, id) if a.legacy and a.connector is not None]
        found = [a for a in rows if connector is None or _same(a.connector or {}, connector)]
        admitted = [ending.admit(app, conn, context, "attachment.terminate", volume, a.id) for a in found]
    return Waiting(tuple(admitted), app.settings.attach_timeout, lambda: None)


def attach(
    app: App, context: Context, id: str, instance_uuid: str | None, host_name: str | None, mountpoint: str, mode: str
) -> None:
    """Record who has it (row S027). The same user again is no error."""
    if instance_uuid is not None and not names.is_id(instance_uuid.lower()):
        raise errors.InvalidInput(field="instance_uuid", value=instance_uuid, reason="must be a UUID")
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        existing = nouns.attachments_of(conn, id)
        if any(a.status == "attached" and _user(a) == (instance_uuid, host_name) for a in existing):
            again = states.VOLUME["attach again"]
            nouns.volumes.transition(conn, id, again.sources, "in-use", action="be attached")
            return
        if volume.readonly and mode != "ro":
            rule = states.VOLUME["attach"]
            nouns.volumes.transition(conn, id, rule.sources, "error_attaching", action="be attached")
            refused: str | None = f"volume {id} is read-only and cannot be attached in mode {mode}"
        else:
            refused = None
            _complete(conn, volume, existing, instance_uuid, host_name, mountpoint, mode)
    if refused:
        raise errors.InvalidInput(field="mode", value=mode, reason=refused)


def detach(app: App, context: Context, id: str, attachment_id: str | None) -> Waiting[None]:
    """Forget who has it, and make sure that they cannot reach it any more (row S028)."""
    with ending.transaction(app) as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        rows = [a for a in nouns.attachments_of(conn, id) if a.status != "attaching" or not a.legacy]
        if attachment_id is None and len(rows) > 1:
            raise errors.InvalidInput(
                field="attachment_id", value=None, reason=f"the volume has {len(rows)} attachments: say which"
            )
        found = [a for a in rows if attachment_id in (None, a.id)]
        if not found:
            settling.follow_attachments(conn, id)
        ids = [attachments.admit_delete(app, conn, context, volume, each.id) for each in found[:1]]
    return Waiting(tuple(ids), app.settings.attach_timeout, lambda: None)


def force_detach(
    app: App, context: Context, id: str, attachment_id: str | None, connector: dict[str, Any] | None
) -> Waiting[None]:
    """Both at once: what the connector may reach, where one is named, and the attachment."""
    ended = () if connector is None else terminate_connection(app, context, id, connector).operations
    rest = detach(app, context, id, attachment_id)
    return replace(rest, operations=(*ended, *rest.operations))


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
    nouns.volumes.transition(conn, volume.id, rule.sources, "in-use", action="be attached", attached_mode=mode)
    waiting = [a for a in existing if a.legacy and a.status == "attaching"]
    row = waiting[-1] if waiting else _new(conn, volume, None)
    nouns.attachments.transition(
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


def _new(conn: sa.Connection, volume: Volume, connector: dict[str, Any] | None) -> Attachment:
    mode = "ro" if volume.readonly else ((connector or {}).get("mode") or volume.attached_mode or "rw")
    attachments.check_mode(volume, mode)
    made = Attachment(
        id=names.new_id(),
        volume_id=volume.id,
        project_id=volume.project_id,
        status="attaching",
        mode=mode,
        legacy=True,
        secret=secrets.token_hex(attachments.KEY_BYTES),
    )
    return nouns.attachments.insert(conn, made)


def _of_connector(conn: sa.Connection, volume_id: str, connector: dict[str, Any]) -> Attachment | None:
    rows = [a for a in nouns.attachments_of(conn, volume_id) if a.legacy and _same(a.connector or {}, connector)]
    return rows[0] if rows else None


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("host", "initiator", "instance"))
