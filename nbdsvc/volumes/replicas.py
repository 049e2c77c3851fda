"""The common part of operations on a volume's replica."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.backends import placement
from nbdsvc.model.entities import Volume
from nbdsvc.store import backends, repositories


@dataclass(frozen=True)
class ReplicaArgs:
    """Arguments of `volume.promote_replica` and `volume.reenable_replication`."""

    volume_id: str


def check_replica(conn: sa.Connection, volume: Volume, allowed: frozenset[str]) -> None:
    """ReplicationError where the volume has no replica, or one of another status; Frozen; Unsupported."""
    backends.check_not_frozen(conn, volume.full_host)  # first, so that this is the reason of the refusal
    status = volume.replication_status or "disabled"
    if status not in allowed:
        reason = f"its replication is {status}, and has to be {' or '.join(sorted(allowed))}"
        raise errors.ReplicationError(volume=volume.id, reason=reason)
    placement.require(conn, volume.full_host, "ReplicaDriver")


def replicated_source(conn: sa.Connection, id: str, project_id: str | None) -> Volume:
    """The volume of which a test volume is to be made. NotFound; ReplicationError where it has no replica."""
    volume = repositories.volumes.get(conn, id, project_id)
    if volume.replication_status in (None, "disabled"):
        raise errors.ReplicationError(volume=id, reason="it is not replicated")
    placement.require(conn, volume.full_host, "ReplicaDriver")
    return volume


@contextmanager
def replica_errors(volume_id: str) -> Iterator[None]:
    """A driver's errors as ReplicationError, but for a stop of the service or of the operation, and the database's."""
    try:
        yield
    except (errors.ReplicationError, errors.OperationError, errors.DatabaseUnavailable):
        raise
    except errors.Error as error:
        raise errors.ReplicationError(volume=volume_id, reason=str(error)) from error
