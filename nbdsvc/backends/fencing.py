"""Ends the exports of a host that serves their volumes no more, before it does anything else.

A host that was paused, or cut off, while it was declared lost or its volumes went to another host, would let clients write
where no reader looks any more.
"""

import time

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.host import Host
from nbdsvc.store import hosts, repositories

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 1.0


def end_foreign_exports(host: Host) -> int:
    """End the exports whose volumes are on another host by now, and those without a row where this host was declared lost;
    how many. Raises ExportFailed, BackendUnavailable.
    """
    present = [(exporter, id) for exporter in host.exporters for id in exporter.inventory().exports]
    if not present:
        return 0
    with host.database.read() as conn:
        is_lost = hosts.is_missing(conn, host.name)
        places = {row.id: repositories.volumes.get(conn, row.volume_id).host
                  for _, id in present for row in [repositories.attachments.find(conn, id)] if row}  # fmt: skip
    foreign = [(exporter, id) for exporter, id in present if places.get(id, "" if is_lost else host.name) != host.name]
    for exporter, id in foreign:
        log.warning("an export is ended: this host serves its volume no more", export=id)
        exporter.remove(id)
    return len(foreign)


def forget_foreign_notes(host: Host) -> int:
    """Forget what is noted here of volumes that another host serves by now: digests, which were of earlier bytes, and ends of
    access that were not recorded, because what was exported here has ended anyway. How many.
    """
    noted = [path.name for path in host.digests.folder.iterdir()] if host.digests.folder.is_dir() else []
    ended = [id for id, _ in host.ended.items()]
    with host.database.read() as conn:
        digests = [id for id in noted if _is_foreign(conn, host, id)]
        ends = [id for id in ended if _is_foreign(conn, host, id)]
    for id in digests:
        host.digests.discard(id)
    for id in ends:
        log.warning("an end of access is forgotten: this host serves its volume no more", attachment=id)
        host.ended.remove(id)
    return len(digests) + len(ends)


def _is_foreign(conn: sa.Connection, host: Host, id: str) -> bool:
    """Whether this is, or is of, a volume that another host serves."""
    row = repositories.snapshots.find(conn, id) or repositories.attachments.find(conn, id)
    volume = repositories.volumes.find(conn, row.volume_id if row else id)
    return volume is not None and volume.host != host.name


def end_when_overtaken(host: Host) -> None:
    """The same for a process that has lost its claim, however long the database is away."""
    while True:
        try:
            end_foreign_exports(host)
        except errors.Error as error:
            log.error("exports cannot be ended", reason=str(error))
            time.sleep(_AGAIN_SECONDS)
        else:
            return
