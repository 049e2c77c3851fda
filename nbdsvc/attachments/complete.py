"""os-complete: the initiator has the volume."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model import clock, states
from nbdsvc.model.context import Context
from nbdsvc.store import repositories, transitions


def complete_attachment(app: App, context: Context, id: str) -> None:
    """Make the attachment `attached` and its volume `in-use`. Errors: NotFound; InvalidState, also without a connector."""
    with app.change() as conn:
        attachment = repositories.attachments.get(conn, id, owner_scope(context))
        rule = states.ATTACHMENT["complete"]
        if attachment.connector is None:
            raise errors.InvalidState(
                resource="VolumeAttachment",
                id=id,
                action="complete",
                status="reserved without connector",
                allowed=["attaching"],
            )
        repositories.attachments.transition(
            conn, id, rule.sources, "attached", action="complete", attached_at=clock.now()
        )
        repositories.volumes.update(conn, attachment.volume_id, attached_mode=attachment.mode)
        transitions.follow_attachments(conn, attachment.volume_id)
