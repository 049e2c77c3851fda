"""Repairs the exports of a host: compares the rows with the exports that exist, at every interval."""

from concurrent import futures

import sqlalchemy as sa
import structlog

from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.delete import DELETE_ATTACHMENT
from nbdsvc.attachments.repair import submit_repair
from nbdsvc.attachments.terminate_connection import TERMINATE_CONNECTION
from nbdsvc.attachments.transport import protocol_of
from nbdsvc.exporter import Exporter
from nbdsvc.host import Host
from nbdsvc.model import names, states
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)

# They wait for sockets: more than any host has servers that hang at once.
LOOKS_AT_ONCE = 32

_ENDS = {kind.name: kind for kind in (DELETE_ATTACHMENT, TERMINATE_CONNECTION)}
SERVICE_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


def repair_exports(app: App, host: Host, exporter: Exporter) -> int:
    """Submit a repair for each export of this transport that is not as its row says; returns how many. It only looks."""
    # Exports before rows: one that is made between the two looks has its row, and is not taken for an orphan.
    inventory = exporter.inventory()
    present = set(inventory.exports)
    with app.database.read() as conn:
        rows = {row.id: row for row in repositories.attachments.select(conn)}
        mine = {v.id: v for v in repositories.volumes.select(conn) if v.host == host.name}
    own = {row.id for row in rows.values() if row.exported and row.protocol == protocol_of(exporter)}
    sick = _sick(exporter, [rows[id] for id in own if rows[id].volume_id in mine])
    surplus = [rows[id] for id in (present & set(rows)) - own if rows[id].volume_id in mine]
    for id in (present - set(rows)) | set(inventory.orphans):
        log.warning("removing an export without an attachment", export=id)
        exporter.remove(id)
    # The row does not show yet an access that was ended without a record.
    wrong = [row for row in sick + surplus if row.id not in host.ended]
    return sum(_submit_repair(app, mine[row.volume_id].full_host, row) for row in wrong)


def _sick(exporter: Exporter, rows: list[Attachment]) -> list[Attachment]:
    """Attachments whose export is not healthy. Checked side by side: each that does not answer takes its whole deadline."""
    with futures.ThreadPoolExecutor(LOOKS_AT_ONCE, "look") as pool:
        well = list(pool.map(lambda row: exporter.health(row.id).ok, rows))
    return [row for row, is_well in zip(rows, well, strict=True) if not is_well]


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
