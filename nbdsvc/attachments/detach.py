"""os-detach and os-force_detach: delete the attachment of a volume, and make sure that its export is gone."""

from dataclasses import replace
from typing import Any

from nbdsvc import errors
from nbdsvc.app import App, Waiting, owner_scope
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.delete import submit_delete
from nbdsvc.attachments.terminate_connection import terminate_connection
from nbdsvc.model.context import Context
from nbdsvc.store import repositories, transitions


def detach_volume(app: App, context: Context, id: str, attachment_id: str | None) -> Waiting[None]:
    """Delete this attachment of the volume; without an id, the only one.

    Errors: NotFound; InvalidInput when there are several and none is named; InvalidState; BackendUnavailable when the
    database does not take it, after access has ended.
    """
    with end_of_access.transaction(app) as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        rows = [a for a in repositories.attachments_of(conn, id) if a.status != "attaching" or not a.legacy]
        if attachment_id is None and len(rows) > 1:
            raise errors.InvalidInput(
                field="attachment_id", value=None, reason=f"the volume has {len(rows)} attachments: say which"
            )
        found = [a for a in rows if attachment_id in (None, a.id)]
        if not found:
            transitions.follow_attachments(conn, id)
        ids = [submit_delete(app, conn, context, volume, each.id) for each in found[:1]]
    return Waiting(tuple(ids), app.settings.attach_timeout, lambda: None)


def force_detach_volume(
    app: App, context: Context, id: str, attachment_id: str | None, connector: dict[str, Any] | None
) -> Waiting[None]:
    """Terminate the connection of the connector, where one is given, and detach the volume.

    Errors: NotFound, InvalidInput, InvalidState, BackendUnavailable, as of terminate_connection and detach_volume.
    """
    ended = () if connector is None else terminate_connection(app, context, id, connector).operations
    rest = detach_volume(app, context, id, attachment_id)
    return replace(rest, operations=(*ended, *rest.operations))
