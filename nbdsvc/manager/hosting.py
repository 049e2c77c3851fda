"""What a host does for itself: start its driver, say what it has, and repair exports (rows S020-S022, S035, S036)."""

from concurrent import futures
from dataclasses import asdict
from datetime import timedelta

import sqlalchemy as sa
import structlog

from nbdsvc import driver as contract
from nbdsvc import errors, journaled_copy
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.repair import submit_repair
from nbdsvc.host import Host
from nbdsvc.manager import findings, settling
from nbdsvc.manager.app import App
from nbdsvc.model import clock, names, states
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment, Service
from nbdsvc.store import nouns, secrets, tables
from nbdsvc.store import operations as journal

log = structlog.get_logger(__name__)

# They wait for sockets: more than any host has servers that hang at once.
LOOKS_AT_ONCE = 32

_OURSELVES = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


def initialise(host: Host) -> bool:
    """do_setup and check_for_setup_error; False, and a word in the log, when the driver cannot work (row S021)."""
    try:
        host.backend("").driver.do_setup()
        host.backend("").driver.check_for_setup_error()
    except errors.Error as error:
        log.error("backend is not usable", backend=host.backend("").name, reason=str(error))
        return False
    return True


def publish(host: Host, working: bool) -> bool:
    """Write what this host has into its service row, for the API and placement. Returns whether the driver works."""
    capabilities: dict[str, object] = {"backend": host.backend("").name, "pools": []}
    if working:
        try:
            host.backend("").driver.check_for_setup_error()
            _look_after(host)
            capabilities = _capabilities(host)
        except errors.Error as error:
            log.error("backend went away", backend=host.backend("").name, reason=str(error))
            working = False
    lacking = findings.look(host)
    with host.database.write() as conn:
        found = nouns.services.select(conn, tables.services.c.host == host.name)
        before = found[0].capabilities.get("findings", []) if found else []
        capabilities["findings"] = findings.report(lacking, before)
        if found:
            nouns.services.update(
                conn, found[0].id, working=working, capabilities=capabilities, availability_zone=host.zone
            )
        else:
            row = Service(
                id=names.new_id(), host=host.name, working=working, capabilities=capabilities, updated_at=clock.now(),
                availability_zone=host.zone,
            )  # fmt: skip
            nouns.services.insert(conn, row)
    return working


def _look_after(host: Host) -> None:
    """Let the driver watch its pool, and say of every snapshot whose bytes are lost that it is."""
    try:
        host.backend("").driver.watch()
    except errors.Error as error:  # what is there still serves; whether it does, check_for_setup_error says
        log.error("the pool cannot be looked after", backend=host.backend("").name, reason=str(error))
    lost = {
        found.id: found.fault
        for found in host.backend("").driver.list_objects()
        if found.kind == "snapshot" and found.fault
    }
    for id, fault in lost.items():
        with host.database.write() as conn:
            row = nouns.snapshots.find(conn, str(id))
            if row and row.status == "available":
                log.error("a snapshot is lost", snapshot=id, reason=fault)
                settling.snapshot(conn, row.id, "available", "error")


def check_transport(host: Host) -> None:
    """ConfigError when attachments are exported by another transport: nobody would end their access, or repair it."""
    with host.database.read() as conn:
        mine = {v.id for v in nouns.volumes.select(conn) if names.split_host(v.host)[0] == host.name}
        exported = [row for row in nouns.attachments.select(conn) if row.exported and row.volume_id in mine]
    others = [(row.connection_info or {}).get("driver_volume_type") for row in exported]
    foreign = sorted({str(kind) for kind in others if kind != host.backend("").exporter.protocol.lower()})
    if foreign:
        reason = f"volumes are still attached by {', '.join(foreign)}: detach them first, or go back to it"
        raise errors.ConfigError(setting="exporter", reason=reason)


def repair_exports(app: App, host: Host) -> int:
    """Admit a repair for each export that is not as its row says; returns how many. Looks only, so it is cheap."""
    # Exports before rows: one that is made between the two looks has its row, and is not taken for nobody's.
    inventory = host.backend("").exporter.inventory()
    present = set(inventory.exports)
    with app.database.read() as conn:
        rows = {row.id: row for row in nouns.attachments.select(conn)}
        mine = {v.id: v for v in nouns.volumes.select(conn) if names.split_host(v.host)[0] == host.name}
    sick = _sick(host, [row for row in rows.values() if row.exported and row.volume_id in mine])
    surplus = [rows[id] for id in present if id in rows and not rows[id].exported and rows[id].volume_id in mine]
    for id in (present - set(rows)) | set(inventory.orphans):
        log.warning("removing an export that nobody owns", export=id)
        host.remove_export(id)
    # What was ended without a record, its row does not know yet.
    owed = [row for row in sick + surplus if row.id not in host.ended]
    return sum(_admit_repair(app, mine[row.volume_id].host, row) for row in owed)


def _sick(host: Host, rows: list[Attachment]) -> list[Attachment]:
    """Those whose export is not well. Side by side: each that does not answer takes its whole deadline."""
    with futures.ThreadPoolExecutor(LOOKS_AT_ONCE, "look") as pool:
        well = list(pool.map(lambda row: host.backend("").exporter.health(row.id).ok, rows))
    return [row for row, is_well in zip(rows, well, strict=True) if not is_well]


def record_ends(app: App, host: Host) -> None:
    """Admit the operations of what was ended while the database did not take them; ended again, should that be needed."""
    for id, kind in host.ended.items():
        end_of_access.remove_export(host, id)
        with app.change() as conn:
            row = nouns.attachments.find(conn, id)
            if row is not None:
                if kind == "attachment.delete":
                    nouns.attachments.transition_if(conn, id, states.ATTACHMENT["delete"].sources, "detaching")
                end_of_access.submit(app, conn, _OURSELVES, kind, nouns.volumes.get(conn, row.volume_id), id)
        host.ended.remove(id)


def forget_operations(host: Host, days: float) -> int:
    """What ended longer ago than that; returns how many. The journals of their copies go as soon as they have ended."""
    journaled_copy.remove_stale_journals(host)
    if not host.database.scrubbed:
        with host.database.write() as conn:
            secrets.sweep(conn)
        host.database.scrub()
    host.images.sweep()
    with host.database.write() as conn:
        return journal.purge(conn, host.name, clock.now() - timedelta(days=days))


def _admit_repair(app: App, host: str, seen: Attachment) -> bool:
    """Unless somebody is at it, or was since we looked: the next look tells whether there is still something to do."""
    with app.change() as conn:
        row = nouns.attachments.find(conn, seen.id)
        if row is None or row.exported != seen.exported or _is_busy(conn, row):
            return False
        submit_repair(app, conn, _OURSELVES, host, seen.volume_id, seen.id)
    return True


def _is_busy(conn: sa.Connection, row: Attachment) -> bool:
    """An operation that locks the attachment is under way; copies of its volume may be, for hours."""
    name = names.attachment_lock(row.id)
    found = journal.unfinished_of(conn, row.volume_id)
    return any(lock.name == name for operation in found for lock in operation.lock_set())


def _capabilities(host: Host) -> dict[str, object]:
    return {
        "backend": host.backend("").name,
        "storage_protocol": host.backend("").exporter.protocol,
        "instant_clone": host.backend("").driver.capabilities.instant_clone,
        "instant_snapshot": host.backend("").driver.capabilities.point_in_time,
        "pools": [asdict(pool) for pool in host.backend("").driver.get_volume_stats(refresh=True)],
        "description": contract.describe(host.backend("").driver),
        "filter_function": host.backend("").driver.get_filter_function(),
        "goodness_function": host.backend("").driver.get_goodness_function(),
    }
