"""The source of a new volume: its snapshot or source volume, in a status that allows a copy."""

from dataclasses import dataclass, replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.backends import placement
from nbdsvc.model import states
from nbdsvc.model.entities import Volume
from nbdsvc.store import moves, repositories
from nbdsvc.store.repository import R, Repository
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
    *,
    hold: bool = False,
) -> VolumeSource | None:
    """The snapshot, volume or replica to copy; None where none is given.

    project_id: whose rows may be copied; None: every project's. hold: it stays as it is until the commit. Quotas have to be
    checked before: what extends a volume waits for them first, too.
    Raises NotFound, InvalidState where its status does not allow a copy, Conflict where it has just been moved,
    ReplicationError for a volume without a replica.
    """
    if snapshot_id is not None:
        return _of_snapshot(conn, snapshot_id, project_id, hold=hold)
    if source_volid is not None:
        return _of_volume(conn, _get(repositories.volumes, conn, source_volid, project_id, hold=hold), hold=hold)
    if source_replica is not None:
        volume = replicated_source(conn, source_replica, project_id)
        return _source(_get(repositories.volumes, conn, volume.id, project_id, hold=hold), volume.size)
    return None


def _get(rows: Repository[R], conn: sa.Connection, id: str, project_id: str | None, *, hold: bool) -> R:
    return (rows.get_for_share if hold else rows.get)(conn, id, project_id)


def _of_snapshot(conn: sa.Connection, id: str, project_id: str | None, *, hold: bool) -> VolumeSource:
    """The volume is held first, as its deletion does."""
    volume_id = repositories.snapshots.get(conn, id, project_id).volume_id
    volume = _get(repositories.volumes, conn, volume_id, None, hold=hold)
    snapshot = _get(repositories.snapshots, conn, id, project_id, hold=hold)
    _require("Snapshot", snapshot.id, snapshot.status, {"available"})
    if hold:
        _stay(conn, volume)
    found = _source(volume, snapshot.volume_size)
    return found if project_id in (None, volume.project_id) else _of_another(conn, found, project_id)


def _of_another(conn: sa.Connection, found: VolumeSource, project_id: str | None) -> VolumeSource:
    """Without what the project to which the volume was given since may have said of it: the image, whether it can be booted
    from, and a type that only that one may use.
    """
    kind = repositories.volume_types.find(conn, found.type_id or "")
    usable = kind is not None and (kind.is_public or project_id in kind.projects)
    return replace(found, type_id=found.type_id if usable else None, bootable=False, image_metadata={})


def _of_volume(conn: sa.Connection, volume: Volume, *, hold: bool) -> VolumeSource:
    instant = placement.instant_clone(conn, volume.full_host)
    _require("Volume", volume.id, volume.status, set(states.CLONE_SOURCE) if instant else {"available"})
    if hold:
        _stay(conn, volume)
    return _source(volume, volume.size)


def _stay(conn: sa.Connection, volume: Volume) -> None:
    """A migration does not lock the volume's status. One that begins from now on waits for the commit, then for the copy."""
    if volume.migration_status in states.MIGRATION_UNSETTLED:
        moves.yield_to(conn, volume)


def _source(volume: Volume, size: int) -> VolumeSource:
    return VolumeSource(
        volume.full_host, volume.availability_zone, volume.volume_type_id, size, volume.bootable, volume.image_metadata
    )


def _require(noun: str, id: str, status: str, allowed: set[str]) -> None:
    if status not in allowed:
        raise errors.InvalidState(resource=noun, id=id, action="be copied", status=status, allowed=sorted(allowed))
