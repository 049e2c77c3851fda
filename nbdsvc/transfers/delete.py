"""Withdraw a transfer that has not been accepted."""

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.store import backends, outbox, repositories


def delete_transfer(app: App, context: Context, id: str) -> None:
    """Delete the transfer; its volume is available again, unless its status was changed by hand.

    Raises NotFound, Frozen, and Conflict while it is being accepted.
    """
    with app.change() as conn:
        # In the order of an acceptance: the transfer, then its volume.
        found = repositories.transfers.get_for_update(conn, id, owner_scope(context))
        volume = repositories.volumes.get_for_update(conn, found.volume_id)
        backends.check_not_frozen(conn, volume.full_host)
        if repositories.transfers.get(conn, id).accepted:
            raise errors.Conflict(reason=f"transfer {id} is being accepted")
        with outbox.changed(app.database.outbox, conn, "volume.transfer.delete", "volume", volume.id):
            repositories.transfers.delete(conn, id)
            sources = states.VOLUME["end transfer"].sources
            repositories.volumes.transition_if(conn, volume.id, sources, "available")
