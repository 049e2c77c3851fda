"""Another host of the cluster takes over the volumes of a lost one: they are on storage that both see, and no byte is copied.

One transaction moves the rows, notes who has taken over, and submits a connection of each attachment there. So either all of
it was done or nothing, and of two takers one finds that the other was faster. The lost host's operations follow by that note
(operations/lost_host.py), also those that arrive there later. A host that returns finds by the rows that they are another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments.connect import CONNECT_ATTACHMENT, ConnectArgs
from nbdsvc.backends import lost_host, placement
from nbdsvc.backends.services import seen
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment, StorageBackend, Volume
from nbdsvc.store import backends, clusters, hosts, moves, repositories, tables

log = structlog.get_logger(__name__)

_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")
# Attachments in use, which their clients find again at the new host.
_SERVED = ("attaching", "attached")


@dataclass(frozen=True)
class Taken:
    """What became of a backend of the lost host."""

    backend: str
    cluster: str
    by: str
    volumes: int
    attachments: int
    # Volumes that stay with the lost host, because it alone knows where their newest bytes are.
    left: tuple[str, ...] = ()


def take_over(app: App, host: str, by: str | None = None, *, fenced: bool = False) -> list[Taken]:
    """Let host `by` serve the volumes of the lost host's shared backends; None: of each backend the living host with the
    fewest volumes. fenced: the host is declared lost first, if it is not.

    Raises NotFound for a host that there is not; InvalidInput without that word, and for a taker that does not see the
    storage; Conflict where the host is alive, where no host that sees the storage is, and where another one was faster.
    """
    with app.database.read() as conn:
        shared, is_lost = _shared(conn, host), hosts.is_lost(conn, host)
        if not is_lost and not fenced:
            raise _unfenced(host)
        _choose(app, conn, shared, by)  # before anything is declared
    if not is_lost:
        lost_host.declare_lost(app, host, fenced=True)
    with app.change() as conn:
        taken = _take_over(app, conn, host, by)
    for each in taken:
        log.warning("volumes were taken over", host=host, backend=each.backend, by=each.by, volumes=each.volumes)
    lost_host.settle_lost(app)
    return taken


def _unfenced(host: str) -> errors.InvalidInput:
    reason = (
        f"host {host} was not declared lost, and two hosts that write to a volume destroy it: switch it off, or cut it off "
        "from the storage, then say so"
    )
    return errors.InvalidInput(field="fenced", value=False, reason=reason)


def _take_over(app: App, conn: sa.Connection, host: str, by: str | None) -> list[Taken]:
    lost_host.hold(app, conn, host)
    if not hosts.is_lost(conn, host):
        raise errors.Conflict(reason=f"host {host} was allowed to return meanwhile")
    chosen = _choose(app, conn, _shared(conn, host), by)
    return [_take_backend(app, conn, row, heir) for row, heir in chosen]


def _shared(conn: sa.Connection, host: str) -> list[StorageBackend]:
    """The backends of the host whose storage other hosts see."""
    rows = [row for row in seen(conn, host) if row.host == host]
    if not rows:
        raise errors.NotFound(resource="Host", id=host)
    if not any(row.cluster for row in rows):
        reason = f"host {host} is in no cluster: no other host sees its storage"
        raise errors.InvalidInput(field="host", value=host[:80], reason=reason)
    return [row for row in rows if row.cluster]


def _choose(
    app: App, conn: sa.Connection, rows: Sequence[StorageBackend], by: str | None
) -> list[tuple[StorageBackend, StorageBackend]]:
    """Each backend of the lost host that has a taker, with the taker's backend."""
    others = {row.id: _others(conn, row) for row in rows}
    if by is not None and not any(each.host == by for found in others.values() for each in found):
        known = ", ".join(sorted({each.host for found in others.values() for each in found})) or "none"
        reason = f"it sees no storage of host {rows[0].host}, but of its clusters these do: {known}"
        raise errors.InvalidInput(field="by", value=by[:80], reason=reason)
    found = [(row, heir) for row in rows if (heir := _heir(app, conn, row, others[row.id], by))]
    if not found:
        names = ", ".join(each.full_name for found in others.values() for each in found) or "none"
        raise errors.Conflict(reason=f"no other host of its clusters serves their storage now: {names}")
    return found


def _others(conn: sa.Connection, row: StorageBackend) -> list[StorageBackend]:
    found = clusters.members(conn, str(row.cluster_name))
    return [each for each in found if each.host != row.host and not hosts.is_lost(conn, each.host)]


def _heir(
    app: App, conn: sa.Connection, row: StorageBackend, others: Sequence[StorageBackend], by: str | None
) -> StorageBackend | None:
    """The backend that takes over: what did so already, for all that may have been left. Conflict for another one."""
    before = clusters.heir(conn, row.host, row.name)
    if before and by not in (None, before):
        raise errors.Conflict(reason=f"{row.full_name} was taken over by host {before} already")
    wanted = before or by
    alive = [each for each in others if placement.is_up(app, each) and wanted in (None, each.host)]
    pools = backends.pools_in_use(conn, row.host, row.name)
    able = [each for each in alive if pools <= {pool.name for pool in backends.pools(conn, each.id) if not pool.fault}]
    return min(able, key=lambda each: (_count(conn, each), each.host), default=None)


def _count(conn: sa.Connection, row: StorageBackend) -> int:
    column = tables.volumes.c
    return repositories.volumes.count(conn, column.host == row.host, column.backend == row.name)


def _take_backend(app: App, conn: sa.Connection, row: StorageBackend, heir: StorageBackend) -> Taken:
    undecided = moves.undecided(conn, row.host)
    column, places = tables.volumes.c, backends.names_in_rows(conn, row.host, row.name)
    before = [
        each.id for each in repositories.volumes.select(conn, column.host == row.host, column.backend.in_(places))
    ]
    count = clusters.move_rows(conn, row.host, row.name, heir.host, undecided)
    clusters.take_over(conn, row.host, row.name, heir.host)
    moved = [each for id in before for each in [repositories.volumes.get(conn, id)] if each.host == heir.host]
    attachments = sum(_connect_again(app, conn, volume) for volume in moved)
    return Taken(row.name, str(row.cluster_name), heir.host, count, attachments, tuple(sorted(undecided)))


def _connect_again(app: App, conn: sa.Connection, volume: Volume) -> int:
    """Nothing that the lost host exported is believed any more."""
    exported = [each for each in repositories.attachments_of(conn, volume.id) if each.exported]
    for each in exported:
        repositories.attachments.update(conn, each.id, exported=False, connection_info=None)
    served = [each for each in exported if each.status in _SERVED]
    for each in served:
        _submit(app, conn, volume, each)
    return len(served)


def _submit(app: App, conn: sa.Connection, volume: Volume, attachment: Attachment) -> None:
    """For the place and not for the volume, whose migration, should there be one, was under way before."""
    args, resource = ConnectArgs(volume.id, attachment.id), ("volume", volume.id)
    app.submit(conn, _CONTEXT, CONNECT_ATTACHMENT, args, backend=volume.full_host, resource=resource, bounded=False)
