"""Repair the exports of a host: what its rows call for and what is there are compared at every interval (rows S020, S068)."""

from concurrent import futures

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.repair import submit_repair
from nbdsvc.exporter import Exporter
from nbdsvc.host import Host
from nbdsvc.model import names, states
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import nouns
from nbdsvc.store import operations as journal

log = structlog.get_logger(__name__)

# They wait for sockets: more than any host has servers that hang at once.
LOOKS_AT_ONCE = 32

SERVICE_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


def check_transport(host: Host) -> None:
    """ConfigError when attachments have a transport that their backend has no more: none would end or repair their access."""
    with host.database.read() as conn:
        mine = {v.id: v for v in nouns.volumes.select(conn) if v.host == host.name}
        exported = [row for row in nouns.attachments.select(conn) if row.exported and row.volume_id in mine]
    foreign = sorted({_protocol(row) for row in exported if not _has_transport(host, mine[row.volume_id], row)})
    if foreign:
        reason = f"volumes are still attached by {', '.join(foreign)}: detach them first, or go back to it"
        raise errors.ConfigError(setting="exporter", reason=reason)


def _protocol(row: Attachment) -> str:
    """nbd or iscsi, as its connector was told."""
    return str((row.connection_info or {}).get("driver_volume_type"))


def _has_transport(host: Host, volume: Volume, row: Attachment) -> bool:
    known = host.backends[volume.backend].exporters if volume.backend in host.backends else host.exporters
    return _protocol(row) in {exporter.protocol.lower() for exporter in known}


def repair_exports(app: App, host: Host, exporter: Exporter) -> int:
    """Submit a repair for each export of this transport that is not as its row says; returns how many. It only looks."""
    # Exports before rows: one that is made between the two looks has its row, and is not taken for an orphan.
    inventory = exporter.inventory()
    present = set(inventory.exports)
    with app.database.read() as conn:
        rows = {row.id: row for row in nouns.attachments.select(conn)}
        mine = {v.id: v for v in nouns.volumes.select(conn) if v.host == host.name}
    own = [row for row in rows.values() if row.volume_id in mine and _protocol(row) == exporter.protocol.lower()]
    sick = _sick(exporter, [row for row in own if row.exported])
    surplus = [rows[id] for id in present if id in rows and not rows[id].exported and rows[id].volume_id in mine]
    for id in (present - set(rows)) | set(inventory.orphans):
        log.warning("removing an export without an attachment", export=id)
        exporter.remove(id)
    # What was ended without a record, its row does not know yet.
    wrong = [row for row in sick + surplus if row.id not in host.ended]
    return sum(_submit_repair(app, mine[row.volume_id].full_host, row) for row in wrong)


def _sick(exporter: Exporter, rows: list[Attachment]) -> list[Attachment]:
    """Those whose export is not well. Side by side: each that does not answer takes its whole deadline."""
    with futures.ThreadPoolExecutor(LOOKS_AT_ONCE, "look") as pool:
        well = list(pool.map(lambda row: exporter.health(row.id).ok, rows))
    return [row for row, is_well in zip(rows, well, strict=True) if not is_well]


def record_ends(app: App, host: Host) -> None:
    """Submit the operations of what was ended while the database did not take them; ended again, should that be needed."""
    for id, kind in host.ended.items():
        end_of_access.remove_export(host, id)
        with app.change() as conn:
            row = nouns.attachments.find(conn, id)
            if row is not None:
                if kind == "attachment.delete":
                    nouns.attachments.transition_if(conn, id, states.ATTACHMENT["delete"].sources, "detaching")
                end_of_access.submit(app, conn, SERVICE_CONTEXT, kind, nouns.volumes.get(conn, row.volume_id), id)
        host.ended.remove(id)


def _submit_repair(app: App, host: str, seen: Attachment) -> bool:
    """Unless an operation is at it, or was since we looked: the next look tells whether there is still something to do."""
    with app.change() as conn:
        row = nouns.attachments.find(conn, seen.id)
        if row is None or row.exported != seen.exported or _is_busy(conn, row):
            return False
        submit_repair(app, conn, SERVICE_CONTEXT, host, seen.volume_id, seen.id)
    return True


def _is_busy(conn: sa.Connection, row: Attachment) -> bool:
    """An operation that locks the attachment is under way; copies of its volume may be, for hours."""
    name = names.attachment_lock(row.id)
    found = journal.unfinished_of(conn, row.volume_id)
    return any(lock.name == name for operation in found for lock in operation.lock_set())
