"""The former address of a volume in use that went to another host: it says where the volume is, until its attachment ends.

The attachment's row says where; what there is on this host is the exporter's own note. So nothing else is kept: maintenance
lets every redirect say what the row says, starts it again where it died, and ends it with the attachment.
"""

import structlog

from nbdsvc import errors
from nbdsvc.host import Host
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories
from nbdsvc.volumes.moves.mirror import leaving_exporters

log = structlog.get_logger(__name__)


def make_redirect(host: Host, id: str) -> None:
    """Let the former address of this attachment say where its volume is; end it where the attachment calls for no export, and
    where no other host has the volume. ExportFailed.
    """
    row, volume = _rows(host, id)
    for exporter in leaving_exporters(host):
        if row is None or volume is None or not row.exported:
            exporter.remove(id)
            exporter.forget_move(id)
        elif volume.host == host.name:
            exporter.come_back(id)  # it was left here, and never switched: the repair of exports serves the volume
        else:
            exporter.redirect(id, str((row.connection_info or {}).get("uri")))


def mend_redirects(host: Host) -> None:
    """Of every attachment whose volume has left this host, where no operation is at it. One that cannot be mended now is
    tried again at the next maintenance, of which it keeps nothing else up.
    """
    for id in {id for exporter in leaving_exporters(host) for id in exporter.left()}:
        try:
            if not _is_busy(host, id):
                make_redirect(host, id)
        except (errors.BackendError, OSError) as error:
            log.error("a former address does not say where its volume is", attachment=id, reason=str(error))


def _rows(host: Host, id: str) -> tuple[Attachment | None, Volume | None]:
    with host.database.read() as conn:
        row = repositories.attachments.find(conn, id)
        return row, repositories.volumes.find(conn, row.volume_id) if row else None


def _is_busy(host: Host, id: str) -> bool:
    with host.database.read() as conn:
        row = repositories.attachments.find(conn, id)
        found = journal.unfinished_of(conn, row.volume_id) if row else []
    return any(each.args.get("attachment_id") == id for each in found)
