"""Give a volume another type (os-retype): where it is, or by a migration to a pool that meets the type."""

from typing import Literal

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends.destination import destination_for_type, retype_refusal
from nbdsvc.model import qos, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.groups import check_not_grouped
from nbdsvc.qos.keep import check_transport, submit_limits
from nbdsvc.store import backends, outbox, qos_specs, repositories
from nbdsvc.types.encryption import check_not_encrypted
from nbdsvc.types.queries import usable_type
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.kinds import kinds
from nbdsvc.volumes.moves.submit import check_movable, submit_move

MigrationPolicy = Literal["never", "on-demand"]
_DURING = "retyping"


def retype_volume(app: App, context: Context, id: str, new_type: str, policy: MigrationPolicy) -> None:
    """Change the type at once where the volume's pool meets it; else start migrating the volume, with policy `on-demand`.

    The type changes together with the place, so that a retype that fails leaves nothing of it.

    Raises NotFound for volume or type; InvalidInput for the type that it has, for one of other zones or that needs a
    migration by policy `never`, and for a migration with snapshots; InvalidState for its status; Unsupported for a migration
    while it is in use; Frozen; Conflict while it is being moved; BackendUnavailable and OutOfSpace where no pool can take it.
    """
    with app.change() as conn:
        volume = repositories.volumes.get_for_update(conn, id, owner_scope(context))
        wanted = usable_type(app, conn, context, new_type)
        check_not_encrypted(conn, wanted)
        wanted.check_zone(volume.availability_zone)
        _check(conn, volume, wanted)
        refusal = retype_refusal(app, conn, volume, wanted)
        if refusal is None:
            backends.check_not_frozen(conn, volume.full_host)
            _check_transports(app, conn, volume, wanted)
            with outbox.changed(app.database.outbox, conn, "volume.retype", "volume", id):
                repositories.volumes.update(conn, id, volume_type_id=wanted.id, multiattach=wanted.multiattach)
            submit_limits(app, conn, context, [wanted.id])
            return
        if policy == "never":
            reason = f"the volume would have to be migrated, and the migration policy is never: {refusal}"
            raise errors.InvalidInput(field="migration_policy", value=policy, reason=reason)
        _submit(app, conn, context, volume, wanted)


def _check(conn: sa.Connection, volume: Volume, wanted: VolumeType) -> None:
    check_not_grouped(volume, "be retyped")
    rule = states.VOLUME["retype in place"]
    if volume.status not in rule.sources:
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action="be retyped", status=volume.status, allowed=rule.allowed()
        )
    if volume.volume_type_id == wanted.id:
        raise errors.InvalidInput(field="new_type", value=wanted.name, reason="the volume has this type already")
    if volume.status == "in-use" and volume.multiattach != wanted.multiattach:
        reason = "whether it allows several attachments cannot change while the volume is in use"
        raise errors.InvalidInput(field="new_type", value=wanted.name, reason=reason)
    if volume.status == "in-use" and _changes_front_end(conn, volume, wanted):
        reason = "the front end keeps to other QoS specs while the volume is in use"
        raise errors.InvalidInput(field="new_type", value=wanted.name, reason=reason)
    if repositories.moves.find(conn, volume.id):
        raise errors.Conflict(reason=f"volume {volume.id} cannot be retyped now: it is being moved")


def _check_transports(app: App, conn: sa.Connection, volume: Volume, wanted: VolumeType) -> None:
    specs = qos_specs.of_type(conn, wanted)
    if specs and qos.limits(specs.consumer, specs.specs, volume.size):
        for attachment in repositories.attachments_of(conn, volume.id):
            if attachment.exported:
                check_transport(app, volume.id, attachment.protocol, "new_type")


def _changes_front_end(conn: sa.Connection, volume: Volume, wanted: VolumeType) -> bool:
    now, then = (qos_specs.front_end(conn, id, volume.size) for id in (volume.volume_type_id, wanted.id))
    return now != then


def _submit(app: App, conn: sa.Connection, context: Context, volume: Volume, wanted: VolumeType) -> None:
    check_movable(conn, volume, "retype", "be retyped by a migration")
    destination = destination_for_type(app, conn, volume, wanted)
    repositories.volumes.transition(
        conn,
        volume.id,
        states.VOLUME["retype"].sources,
        _DURING,
        action="be retyped",
        previous_status=volume.status,
    )
    submit_move(app, conn, context, RETYPE, MoveArgs(volume.id), volume, destination, wanted.id)


RETYPE = kinds("volume.retype", _DURING)
