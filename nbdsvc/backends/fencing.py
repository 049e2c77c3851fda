"""Ends the exports of a host that serves their volumes no more, before it does anything else.

A host that was paused, or cut off, while it was declared lost or its volumes went to another host, would let clients write
where no reader looks any more. One that is lost ends them all: what another host of its cluster has not taken over yet it
may take over at any moment, and this one does not learn of it then.
"""

import time
from typing import NoReturn

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.exporter import Exporter, LeavingExporter
from nbdsvc.host import Host
from nbdsvc.store import hosts, repositories

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 1.0


def end_foreign_exports(host: Host) -> int:
    """End the exports whose volumes are on another host by now, all where this host is lost, and those without a row where it
    was and has not started since; how many. Raises ExportFailed, BackendUnavailable, after all that could be ended.
    """
    ended, failed = 0, None
    for exporter in host.exporters:
        try:
            for id in _foreign(host, exporter):
                failed = _try_end(exporter, id) or failed
                ended += 1
        except errors.Error as error:  # of one transport: the others' clients write too
            failed = error
    if failed:
        raise failed
    return ended


def _foreign(host: Host, exporter: Exporter) -> list[str]:
    present = exporter.inventory().exports
    if not present:
        return []
    with host.database.read() as conn:
        is_lost, is_missing = hosts.is_lost(conn, host.name), hosts.is_missing(conn, host.name)
        places = {row.id: repositories.volumes.get(conn, row.volume_id).host
                  for id in present for row in [repositories.attachments.find(conn, id)] if row}  # fmt: skip
    unknown = "" if is_missing else host.name
    # What only says where its volume is has no byte of it, and its client looks there.
    kept = exporter.left() if isinstance(exporter, LeavingExporter) and not is_lost else frozenset()
    return [id for id in present if id not in kept and (is_lost or places.get(id, unknown) != host.name)]


def _try_end(exporter: Exporter, id: str) -> errors.Error | None:
    log.warning("an export is ended: this host serves its volume no more", export=id)
    try:
        exporter.remove(id)
    except errors.Error as error:
        return error
    return None


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


def end_when_overtaken(host: Host) -> NoReturn:
    """The same for a process that has lost its claim, for as long as it lives: the database may be away, a step that was
    under way may export once more, and a volume may go to another host later. Never returns.
    """
    while True:
        try:
            end_foreign_exports(host)
        except errors.Error as error:
            log.error("exports cannot be ended", reason=str(error))
        time.sleep(_AGAIN_SECONDS)
