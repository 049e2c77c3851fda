"""Migrate a volume that is in use to another host: the server of its export takes it there, and its client follows.

    create, serve    at the destination: the object, and an export of it for this move, as of a volume that is not in use; the
                     attachment's export, which says that the volume is on its way
    mirror           at the source: the server of the attachment's export writes to both places, and copies the rest
    leave            at the source: with both equal, that server ends; its client waits, as for a server that has died
    unserve          at the destination: the export of the move ends, and with it whatever was on its way there
    export           at the destination: the attachment's export serves the volume, with the attachment's own key
    switch, finish   at the destination; from the switch on the operation belongs to that host
    redirect         at the source: the former address says where the volume is (redirect.py)
    remove           at the source

The rows decide where the volume is: until the switch the mirror alone has written to the destination, so that the source has
all that was acknowledged, and its server can come back. From `leave` to the switch the client waits.
"""

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.attachments import repair
from nbdsvc.attachments.connect import export_here
from nbdsvc.attachments.desired_export import Exportable, access_of, export_spec, find_attachment
from nbdsvc.exporter import Exporter, ExportSpec, LeavingExporter
from nbdsvc.host import Host, host_of
from nbdsvc.location import Location
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.locking import locks
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import moves, qos_specs, repositories
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves.create import create_destination, remove_destination
from nbdsvc.volumes.moves.finish import finish, remove_source
from nbdsvc.volumes.moves.hooks import call_at_source
from nbdsvc.volumes.moves.in_use import fail_in_use, succeed_in_use
from nbdsvc.volumes.moves.mirror import InUseArgs, Mirroring, leaving_exporter, leaving_exporters
from nbdsvc.volumes.moves.places import Places, at_destination, at_source, is_switched, read_places, read_rows
from nbdsvc.volumes.moves.redirect import make_redirect
from nbdsvc.volumes.moves.send import forget_copy, key_file
from nbdsvc.volumes.moves.serve import serve, undo_serve, unserve

log = structlog.get_logger(__name__)

_NAME = "volume.migrate_in_use_between_hosts"
# Operations that end the access of an attachment, and do not wait for others of its volume.
_ENDS = ("attachment.delete", "attachment.terminate", "volume.detach_all")


def _mirror(run: Run[InUseArgs]) -> dict[str, int]:
    """Mirror until both places are equal. Errors as of the step within a host. A server that starts anew ends the migration:
    what the one before it sent may still be on its way to the destination.
    """
    places = read_places(run)
    call_at_source(places, "before_volume_copy")
    with key_file(run) as key:
        target = Location("nbd", run.results["serve"]["uri"], {"tls_psk_file": str(key)})
        return Mirroring(run, leaving_exporter(host_of(run)), places.source, places.here, target).until_synchronised()


def _undo_mirror(run: Run[InUseArgs]) -> None:
    """Also where the process died in the middle, and where the server has left after all."""
    forget_copy(run)
    if is_switched(run):
        return
    places = read_places(run)
    if leaving_exporter(host_of(run)).end_mirror(run.args.attachment_id, _source(places)) is not None:
        _come_back(run)
    call_at_source(places, "after_volume_copy")


def _source(places: Places) -> Location:
    return places.source.driver.location(places.here)


def _leave(run: Run[InUseArgs]) -> None:
    """ExportFailed where the server has no mirror that is equal, any more."""
    places, exporter = read_places(run), leaving_exporter(host_of(run))
    if exporter.moved_to(run.args.attachment_id, _source(places)) is None:
        exporter.leave(run.args.attachment_id, _source(places))
    forget_copy(run)
    call_at_source(places, "after_volume_copy")


def _come_back(run: Run[InUseArgs]) -> None:
    """The server is at the source again, if its attachment still calls for it."""
    if is_switched(run):
        return
    places, exporter = read_places(run), leaving_exporter(host_of(run))
    if exporter.moved_to(run.args.attachment_id, _source(places)) is not None:
        exporter.come_back(run.args.attachment_id)
    repair.repair_export(host_of(run), places.source, run.args.attachment_id)


def _prepare(run: Run[InUseArgs]) -> dict[str, Any]:
    """Serve the move, and start the attachment's server, too, which has no client yet: later this one does not have to wait
    for a start. What keeps the client from following is an error before anything is copied.
    """
    result = serve(run)
    there = _there(run)
    if isinstance(there.exporter, LeavingExporter):
        there.exporter.prepare(there.spec)
    return result


def _undo_prepare(run: Run[InUseArgs]) -> None:
    """See undo_serve. Also on a host that could prepare nothing."""
    undo_serve(run)
    if not is_switched(run):
        for exporter in leaving_exporters(host_of(run)):
            exporter.unprepare(run.args.attachment_id)


@dataclass(frozen=True)
class _There:
    """The attachment's export at the destination."""

    exporter: Exporter
    attachment: Attachment
    found: Exportable
    spec: ExportSpec


def _there(run: Run[InUseArgs]) -> _There:
    """Conflict where the attachment has ended, Unsupported where its client could not follow."""
    host, places, attachment = host_of(run), read_places(run), find_attachment(run, run.args.attachment_id)
    if attachment is None or not attachment.exported:
        raise _ended(run)
    attachment = replace(attachment, connector=_over_network(attachment))
    exporter = host.exporter(attachment.protocol or "")
    location = places.destination.driver.location(places.there)
    with host.database.read() as conn:
        limits = qos_specs.limits_of(conn, places.volume.id).back_end
        found = Exportable(moves.there(*read_rows(conn, places.volume.id)), places.there, location, limits)
    access = access_of(exporter, attachment, location)
    if access.needs_secret != bool((attachment.connection_info or {}).get("tls")):
        reason = (
            "one of the two hosts exports with TLS and the other one without (nbd_tls): the client could not follow"
        )
        raise errors.Unsupported(reason=reason)
    spec = replace(export_spec(exporter, attachment, found, access), port=None)  # that of its former host
    return _There(exporter, attachment, found, spec)


def _export(run: Run[InUseArgs]) -> dict[str, Any]:
    """The attachment's export, before anybody gets to know of it. The result is its connection_info without the secret."""
    host, there = host_of(run), _there(run)
    exporter, attachment = there.exporter, there.attachment
    if isinstance(exporter, LeavingExporter) and exporter.moved_to(attachment.id, there.spec.location) is not None:
        exporter.come_back(attachment.id)  # of an earlier migration from here
    return export_here(host, read_places(run).destination, exporter, attachment, there.found, there.spec)


def _over_network(row: Attachment) -> dict[str, Any]:
    """The connector, of a client that goes on as it has connected: also where it is at home on the destination's host."""
    return {**(row.connector or {}), "nbd_transport": "tcp"}


def _ended(run: Run[InUseArgs]) -> errors.Conflict:
    return errors.Conflict(
        reason=f"attachment {run.args.attachment_id}, whose client was to follow the volume, has ended"
    )


def _unexport(run: Run[InUseArgs]) -> None:
    if not is_switched(run):
        host_of(run).remove_export(run.args.attachment_id)


def _switch(run: Run[InUseArgs]) -> None:
    """Volume, second place and connection_info in one transaction. Cancelled where a cancel came before, Conflict where the
    attachment has ended, or is ending.
    """
    id = run.args.attachment_id
    with host_of(run).database.write() as conn:
        repositories.hold_attached(conn, run.args.volume_id, [id])
        volume, move = read_rows(conn, run.args.volume_id)
        if not move.switched:
            if not journal.go_on(conn, run.id):
                raise errors.Cancelled(operation=run.id)
            row = repositories.attachments.find(conn, id)
            if row is None or not _is_used(conn, volume, row):
                raise _ended(run)
            moves.switch(conn, volume, move)
            moves.change_status(conn, volume.id, "switch")
            repositories.attachments.update(
                conn, id, connection_info=run.results["export"], connector=_over_network(row)
            )
        run.make_home(conn)  # its source's host may be gone for good


def _is_used(conn: sa.Connection, volume: Volume, row: Attachment) -> bool:
    if not row.exported or row.status == "detaching":
        return False
    return not any(
        each.kind in _ENDS and row.id in (each.args.get("attachment_id"), *each.args.get("attachment_ids", ()))
        for each in journal.unfinished_of(conn, volume.id)
    )


def _finish(run: Run[InUseArgs]) -> None:
    """A start of this host before the switch has ended the attachment's export, as one of another host's volume."""
    repair.repair_export(host_of(run), read_places(run).source, run.args.attachment_id)
    finish(run)


def _redirect(run: Run[InUseArgs]) -> None:
    """What cannot be made now is made by maintenance: the volume is at its destination."""
    host: Host = host_of(run)
    try:
        make_redirect(host, run.args.attachment_id)
    except (errors.BackendError, OSError) as error:
        log.error(
            "a former address does not say where its volume is", attachment=run.args.attachment_id, reason=str(error)
        )


STEPS: tuple[Step[InUseArgs], ...] = (
    Step("create", create_destination, remove_destination, host=at_destination, awaited=False),
    Step("serve", _prepare, _undo_prepare, host=at_destination, awaited=False),
    Step("mirror", _mirror, _undo_mirror, copies=always, host=at_source, awaited=False),
    Step("leave", _leave, _come_back, host=at_source, awaited=False),
    # From here to the switch the client has no server: where the destination is gone, the source serves it again.
    Step("unserve", unserve, host=at_destination, awaited=False, urgent=True),
    Step("export", _export, _unexport, host=at_destination, awaited=False, urgent=True),
    Step("switch", _switch, stoppable=False, host=at_destination),
    Step("finish", _finish, stoppable=False, host=at_destination),
    Step("redirect", _redirect, stoppable=False, host=at_source, awaited=False),
    Step("remove", remove_source, stoppable=False, host=at_source, awaited=False),
)

MIGRATE_IN_USE_BETWEEN_HOSTS = OperationType(
    _NAME,
    InUseArgs,
    STEPS,
    lambda args: locks(_NAME, volume=args.volume_id),
    succeed_in_use,
    fail_in_use,
    modifies=True,
)
