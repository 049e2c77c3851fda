"""Replicate a volume again whose replication is on hold (S047). It may be in use: only its driver works."""

from typing import Any

import sqlalchemy as sa

from nbdsvc.app import App, owner_scope
from nbdsvc.driver import replication_columns
from nbdsvc.host import backend_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import read_volume_ref
from nbdsvc.store import repositories
from nbdsvc.volumes.replicas import ReplicaArgs, check_replica, replica_errors


def reenable_replication(app: App, context: Context, id: str) -> None:
    """Start it; the volume's status stays. Raises NotFound, Unsupported, ReplicationError where it is not on hold."""
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        check_replica(conn, volume, states.REENABLEABLE)
        app.submit(conn, context, REENABLE_REPLICATION, ReplicaArgs(id), backend=volume, resource=("volume", id))


def _locks(args: ReplicaArgs) -> list[Lock]:
    return locks("volume.reenable_replication", volume=args.volume_id)


def _reenable(run: Run[ReplicaArgs]) -> dict[str, Any]:
    """The columns of the volume's row."""
    volume = read_volume_ref(run, run.args.volume_id)
    with replica_errors(volume.id):
        return replication_columns(backend_of(run).replicas().reenable_replication(volume))


def _succeed(conn: sa.Connection, operation: Operation, args: ReplicaArgs) -> None:
    repositories.volumes.update(conn, args.volume_id, **operation.results["reenable"])


REENABLE_REPLICATION = OperationType(
    "volume.reenable_replication",
    ReplicaArgs,
    (Step("reenable", _reenable),),
    _locks,
    _succeed,
    # A failure leaves the row its status; the next refresh corrects it.
    modifies=True,
)
