"""Repairs the exports of a host at every interval: mends what explain/ finds of them."""

import sqlalchemy as sa
import structlog

from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.delete import DELETE_ATTACHMENT
from nbdsvc.attachments.repair import submit_repair
from nbdsvc.attachments.terminate_connection import TERMINATE_CONNECTION
from nbdsvc.explain.diff import EXPORT_KINDS, diff
from nbdsvc.explain.host_fixes import HOST_FIXES, mend
from nbdsvc.explain.observe import observe_exports
from nbdsvc.explain.row_fixes import ROW_FIXES
from nbdsvc.exporter import Exporter
from nbdsvc.host import Host
from nbdsvc.model import names, states
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)

_ENDS = {kind.name: kind for kind in (DELETE_ATTACHMENT, TERMINATE_CONNECTION)}
SERVICE_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


def repair_exports(app: App, host: Host, exporter: Exporter) -> int:
    """Submit a repair for each export of this transport that is not as its row says; returns how many. It only looks."""
    facts = observe_exports(host, exporter)
    found = diff(facts, EXPORT_KINDS, lambda keys: host.first_seen.note(exporter.protocol, keys))
    rows = {row.id: row for row in facts.attachments}
    surplus = [each for each in found if each.kind in HOST_FIXES]
    for each in surplus:
        log.warning("removing an export without an attachment", export=each.id)
    mend(host, surplus, {each.key for each in surplus})
    # The row of an access that was ended without a record does not show the end yet.
    wrong = [rows[each.id] for each in found if each.kind in ROW_FIXES and each.id not in host.ended]
    volumes = {row.id: row for row in facts.volumes}
    wrong = [row for row in wrong if volumes[row.volume_id].replication_status != states.LEFT_BEHIND]
    return sum(_submit_repair(app, volumes[row.volume_id].full_host, row) for row in wrong)


def record_ends(app: App, host: Host) -> None:
    """Submit the operations of what was ended while the database did not take them; ended again, should that be needed."""
    for id, kind in host.ended.items():
        end_of_access.remove_export(host, id)
        with app.change() as conn:
            row = repositories.attachments.find(conn, id)
            if row is not None:
                if kind == DELETE_ATTACHMENT.name:
                    repositories.attachments.transition_if(conn, id, states.ATTACHMENT["delete"].sources, "detaching")
                end_of_access.submit(
                    app, conn, SERVICE_CONTEXT, _ENDS[kind], repositories.volumes.get(conn, row.volume_id), id
                )
        host.ended.remove(id)


def _submit_repair(app: App, host: str, seen: Attachment) -> bool:
    """Unless an operation is at it, or was since we looked: the next look tells whether there is still something to do."""
    with app.change() as conn:
        row = repositories.attachments.find(conn, seen.id)
        if row is None or row.exported != seen.exported or _is_busy(conn, row):
            return False
        submit_repair(app, conn, SERVICE_CONTEXT, host, seen.volume_id, seen.id)
    return True


def _is_busy(conn: sa.Connection, row: Attachment) -> bool:
    """An operation that locks the attachment is under way; copies of its volume may be, for hours.

    Operations that an older version submitted lock its volume only, and name it in their arguments.
    """
    name = names.attachment_lock(row.id)
    found = journal.unfinished_of(conn, row.volume_id)
    return any(
        row.id in (operation.args.get("attachment_id"), *operation.args.get("attachment_ids", ()))
        or any(lock.name == name for lock in operation.lock_set())
        for operation in found
    )
