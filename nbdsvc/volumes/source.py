"""The source of a new volume: its snapshot or source volume, in a status that allows a copy."""

from dataclasses import dataclass, replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.backends import placement
from nbdsvc.model import states
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.replicas import replicated_source


@dataclass(frozen=True)
class VolumeSource:
    """Attributes that a new volume takes over from its source."""

    host: str
    """`host@backend#pool`: what shares blocks with its source stays in its pool."""
    zone: str
    type_id: str | None
    size: int
    """GiB; the new volume is not smaller."""
    bootable: bool
    image_metadata: dict[str, str]


def find_source(
    conn: sa.Connection,
    project_id: str | None,
    snapshot_id: str | None,
    source_volid: str | None,
    source_replica: str | None = None,
) -> VolumeSource | None:
    """The snapshot, volume or replica to copy; None where none is given.

    project_id: whose rows may be copied; None: every project's.
    Raises NotFound, InvalidState where its status does not allow a copy, Conflict where it has just been moved,
    ReplicationError for a volume without a replica.
    """
    if snapshot_id is not None:
        return _of_snapshot(conn, repositories.snapshots.get(conn, snapshot_id, project_id), project_id)
    if source_volid is not None:
        # On PostgreSQL a migration may begin meanwhile, which does not lock the volume's status: it waits for the commit,
        # and then for the copy.
        return _of_volume(conn, repositories.volumes.get_for_share(conn, source_volid, project_id))
    if source_replica is not None:
        volume = replicated_source(conn, source_replica, project_id)
        return _source(volume, volume.size)
    return None


def _of_snapshot(conn: sa.Connection, snapshot: Snapshot, project_id: str | None) -> VolumeSource:
    """Where its volume was given to another project since, without what that one may have said of the image."""
    _require("Snapshot", snapshot.id, snapshot.status, {"available"})
    volume = repositories.volumes.get(conn, snapshot.volume_id)
    found = _source(volume, snapshot.volume_size)
    return found if project_id in (None, volume.project_id) else replace(found, image_metadata={})


def _of_volume(conn: sa.Connection, volume: Volume) -> VolumeSource:
    instant = placement.instant_clone(conn, volume.full_host)
    _require("Volume", volume.id, volume.status, set(states.CLONE_SOURCE) if instant else {"available"})
    if volume.migration_status in states.MIGRATION_UNSETTLED:
        moves.yield_to(conn, volume)
    return _source(volume, volume.size)


def _source(volume: Volume, size: int) -> VolumeSource:
    return VolumeSource(
        volume.full_host, volume.availability_zone, volume.volume_type_id, size, volume.bootable, volume.image_metadata
    )


def _require(noun: str, id: str, status: str, allowed: set[str]) -> None:
    if status not in allowed:
        raise errors.InvalidState(resource=noun, id=id, action="be copied", status=status, allowed=sorted(allowed))
