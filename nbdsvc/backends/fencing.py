"""Ends the exports of a host that serves their volumes no more, before it does anything else.

A host that was paused, or cut off, while it was declared lost or its volumes went to another host, would let clients write
where no reader looks any more.
"""

import time

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
