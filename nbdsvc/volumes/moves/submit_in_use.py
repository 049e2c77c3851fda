"""Whether a volume in use can be migrated, and the submission of its migration, within its host and to another one."""

from dataclasses import replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.destination import bound_to_host
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import backends, clusters, repositories
from nbdsvc.volumes.moves.between_in_use import MIGRATE_IN_USE_BETWEEN_HOSTS
from nbdsvc.volumes.moves.in_use import MIGRATE_IN_USE
from nbdsvc.volumes.moves.mirror import InUseArgs
from nbdsvc.volumes.moves.submit import check_nothing_stays, submit_kind

# Transports whose servers can mirror.
_MIRRORING = ("nbd",)


def check_movable_in_use(conn: sa.Connection, volume: Volume) -> str:
    """The id of the attachment whose export will mirror. Unsupported where there are several, where it is not connected, and
    where its transport cannot mirror; else as check_movable.
    """
    backends.check_not_frozen(conn, volume.full_host)
    check_nothing_stays(conn, volume, "be migrated")
    attached = [each for each in repositories.attachments_of(conn, volume.id) if each.status != "detached"]
    if reason := _obstacle(attached):
        raise errors.Unsupported(reason=f"volume {volume.id} is in use, and cannot be migrated now: {reason}")
    return attached[0].id


def _obstacle(attached: list[Attachment]) -> str | None:
    if len(attached) != 1:
        return f"it has {len(attached)} attachments, and the export of one can mirror it"
    (only,) = attached
    if not only.exported or only.status != "attached":
        return f"its attachment {only.id} is {only.status}, and not connected"
    if only.protocol not in _MIRRORING:
        return f"its attachment {only.id} is exported by {only.protocol}, which cannot mirror; only nbd can"
    return None


def submit_in_use(
    app: App, conn: sa.Connection, context: Context, volume: Volume, destination: str, args: InUseArgs
) -> None:
    """Submit the migration to `host@backend#pool`. The volume's status stays: its client goes on. Unsupported for another
    host, where it sees the volume's storage, or where the client uses the unix socket.
    """
    kind, (host, backend, _pool) = MIGRATE_IN_USE, names.split_host(destination)
    if host != volume.host:
        _check_can_follow(conn, volume, destination)
        source = names.join_host(volume.host, volume.backend)
        kind = MIGRATE_IN_USE_BETWEEN_HOSTS
        args = replace(args, source=source, destination=names.join_host(host, backend))
    submit_kind(app, conn, context, kind, args, volume, destination, volume.volume_type_id)


def _check_can_follow(conn: sa.Connection, volume: Volume, destination: str) -> None:
    reason = bound_to_host(conn, volume)
    if clusters.is_same_storage(conn, volume.full_host, destination):
        reason = f"it is in use, and {destination} is its storage, too: only a volume that is not in use goes there"
    if reason:
        raise errors.Unsupported(reason=f"volume {volume.id} cannot be migrated to another host now: {reason}")
