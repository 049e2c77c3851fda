"""os-initialize_connection: export a volume to a connector, before or after os-attach.

Attachments of the volume actions are rows like all others, marked `legacy`; the API shows them after os-attach only.
"""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments.access_mode import check_mode, new_secret
from nbdsvc.attachments.connect import submit_connect
from nbdsvc.attachments.connection_info import connection_info
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import repositories


def initialize_connection(app: App, context: Context, id: str, connector: dict[str, Any]) -> Waiting[dict[str, Any]]:
    """Export the volume to this connector; the result is its connection_info, with the secret.

    Errors: NotFound, InvalidState, InvalidInput (mode); by the operation: InvalidInput (connector), Unsupported, Conflict,
    ExportFailed.
    """
    with app.change() as conn:
        # The row is locked: either the acceptance of a transfer sees this connection, or this request sees the new owner.
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        connected = _of_connector(conn, id, connector)
        _check(volume, connected)
        attachment = connected or insert_legacy(conn, volume, connector)
        submitted = submit_connect(app, conn, context, volume, attachment, connector, complete=False)

    def info() -> dict[str, Any]:
        with app.database.read() as conn:
            return connection_info(app, repositories.attachments.get(conn, attachment.id))

    return Waiting((submitted,), app.settings.attach_timeout, info)


def _check(volume: Volume, connected: Attachment | None) -> None:
    """A volume with the status `error` may be one that was never made; one that is connected may be so again."""
    refused = states.VOLUME_IN_FLIGHT | {"awaiting-transfer"} | (set() if connected else {"error"})
    if volume.status in refused:
        allowed = ["available", "attaching", "in-use"]
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be connected", status=volume.status, allowed=allowed
        )


def insert_legacy(conn: sa.Connection, volume: Volume, connector: dict[str, Any] | None) -> Attachment:
    """A new row of the volume actions. InvalidInput (mode)."""
    mode = "ro" if volume.readonly else ((connector or {}).get("mode") or volume.attached_mode or "rw")
    check_mode(volume, mode)
    made = Attachment(
        id=names.new_id(),
        volume_id=volume.id,
        project_id=volume.project_id,
        status="attaching",
        mode=mode,
        legacy=True,
        secret=new_secret(),
    )
    return repositories.attachments.insert(conn, made)


def is_same_connector(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both describe one initiator."""
    return all(one.get(key) == other.get(key) for key in ("host", "initiator", "instance"))


def _of_connector(conn: sa.Connection, volume_id: str, connector: dict[str, Any]) -> Attachment | None:
    rows = repositories.attachments_of(conn, volume_id)
    found = [a for a in rows if a.legacy and is_same_connector(a.connector or {}, connector)]
    return found[0] if found else None
