"""Promote a volume's replica: the volume is served from it from now on, and replication is on hold (S046)."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.driver import replication_columns
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_volume_ref
from nbdsvc.store import repositories, transitions
from nbdsvc.volumes.replicas import ReplicaArgs, check_replica, replica_errors


def promote_replica(app: App, context: Context, id: str) -> None:
    """Start promoting. The volume is in `maintenance` meanwhile, so that nothing is attached to what it is served from now.

    Raises NotFound, Unsupported, ReplicationError where it is not available, or its replica not active or active-stopped.
    """
    rule = states.VOLUME["promote replica"]
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        check_replica(conn, volume, states.PROMOTABLE)
        if volume.status not in rule.sources:
            raise errors.ReplicationError(volume=id, reason=f"it is {volume.status}, and has to be available")
        changes = {"previous_status": volume.status}
        repositories.volumes.transition(conn, id, rule.sources, "maintenance", action="promote its replica", **changes)
        app.submit(conn, context, PROMOTE_REPLICA, ReplicaArgs(id), backend=volume, resource=("volume", id))


def _locks(args: ReplicaArgs) -> list[Lock]:
    return locks("volume.promote_replica", volume=args.volume_id)


def _promote(run: Run[ReplicaArgs]) -> dict[str, Any]:
    """The columns of the volume's row. Its digests are of what it held before."""
    volume = read_volume_ref(run, run.args.volume_id)
    host_of(run).digests.discard(volume.id)
    with replica_errors(volume.id):
        return replication_columns(backend_of(run).replicas().promote_replica(volume))


def _succeed(conn: sa.Connection, operation: Operation, args: ReplicaArgs) -> None:
    repositories.volumes.update(conn, args.volume_id, **operation.results["promote"])
    transitions.finish_volume(conn, args.volume_id, "maintenance", states.PREVIOUS)


def _fail(conn: sa.Connection, _operation: Operation, args: ReplicaArgs, _error: errors.Error) -> None:
    """The volume is as usable as it was; what became of its replica, the next refresh tells."""
    transitions.finish_volume(conn, args.volume_id, "maintenance", states.PREVIOUS)


PROMOTE_REPLICA = OperationType(
    "volume.promote_replica",
    ReplicaArgs,
    (Step("promote", _promote),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
