"""Offer a volume to whoever gets the key."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Transfer, Volume
from nbdsvc.model.groups import check_not_of_group
from nbdsvc.store import backends, outbox, repositories
from nbdsvc.transfers.auth_key import new_key


def create_transfer(
    app: App, context: Context, volume_id: str, name: str | None, *, no_snapshots: bool = False
) -> tuple[Transfer, str]:
    """The new transfer and its key, which is never shown again. The volume is `awaiting-transfer` until it is accepted
    or deleted. no_snapshots: its snapshots stay with its project.

    Raises NotFound, Frozen, InvalidState (the volume or one of its snapshots), InvalidInput where it is attached, in a
    migration or a replica.
    """
    app.check_database_room()
    key, salt, digest = new_key()
    with app.change() as conn:
        volume = repositories.volumes.get(conn, volume_id, owner_scope(context))
        backends.check_not_frozen(conn, volume.full_host)
        volume = repositories.volumes.get_for_update(conn, volume_id, owner_scope(context))
        if reason := _refusal(conn, volume):
            raise errors.InvalidInput(field="volume_id", value=volume_id, reason=reason)
        if not no_snapshots:
            check_snapshots(conn, volume)
        sources = states.VOLUME["begin transfer"].sources
        with outbox.changed(app.database.outbox, conn, "volume.transfer.create", "volume", volume_id):
            repositories.volumes.transition(conn, volume_id, sources, "awaiting-transfer", action="be transferred")
            made = Transfer(names.new_id(), volume.project_id, volume_id, name, salt, digest, no_snapshots)
            return repositories.transfers.insert(conn, made), key


def check_snapshots(conn: sa.Connection, volume: Volume) -> None:
    """Raise InvalidState where an operation works on a snapshot of the volume, or one is not whole, and InvalidInput for a
    part of a group snapshot: they go with it.
    """
    for snapshot in repositories.snapshots_of(conn, volume.id):
        check_not_of_group(snapshot, "be transferred with its volume")
        if snapshot.status != "available":
            facts = {"resource": "Snapshot", "id": snapshot.id, "action": "be transferred with its volume"}
            raise errors.InvalidState(**facts, status=snapshot.status, allowed=["available"])


def _refusal(conn: sa.Connection, volume: Volume) -> str | None:
    """Why a volume whose status would do cannot be transferred. A connection of a volume action shows in no status."""
    if repositories.attachments_of(conn, volume.id):
        return "it is attached: detach it first"
    if volume.migration_status in states.MIGRATION_IN_FLIGHT:
        return "it is being migrated"
    if volume.group_id is not None:
        return f"it is in group {volume.group_id}: remove it from the group first"
    return None
