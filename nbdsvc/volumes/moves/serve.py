"""Steps serve and unserve: the destination's object as a writable export, by which the bytes come from another host.

The export belongs to the operation, whose id it has: it outlives the service, is started again where it died (`mend_served`),
and is removed with the end, by `unserve`, or by the undo. Its key is in the database, with the operation, until that ends.
"""

import os
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.attachments.access_mode import new_secret
from nbdsvc.exporter import Access, Exporter, ExportSpec
from nbdsvc.host import Host, host_of
from nbdsvc.location import LOCAL, Location
from nbdsvc.model import operation as model
from nbdsvc.model.entities import Move
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import volume_ref
from nbdsvc.store import moves, repositories, secrets
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.hooks import call_at_destination
from nbdsvc.volumes.moves.places import is_switched, read_places

log = structlog.get_logger(__name__)
SERVE, COPY = "serve", "copy"


def serve(run: Run[MoveArgs]) -> dict[str, Any]:
    """Export the object. The result, without the key: uri, and the port, with which a later try comes back."""
    host, places = host_of(run), read_places(run)
    location = places.destination.driver.location(places.there)
    call_at_destination(places, "before_volume_copy")
    host.digests.discard(places.volume.id)
    with host.database.write() as conn:
        secret = _keep_secret(conn, run.id)
    return _export(host, run.id, places.volume.id, location, secret, None)


def _keep_secret(conn: sa.Connection, id: str) -> str:
    """The operation's key, which is made once."""
    found = secrets.of(conn, id)
    if found is None:
        secrets.keep(conn, id, found := new_secret())
    return found


def _export(host: Host, id: str, volume_id: str, location: Location, secret: str, port: int | None) -> dict[str, Any]:
    access = Access(network=True, needs_secret=True)
    info = _receiver(host).ensure(ExportSpec(id, volume_id, location, access, secret=secret, port=port))
    return {"uri": info.data["uri"], "port": info.data["port"]}


def _receiver(host: Host) -> Exporter:
    if host.receiver is None:
        reason = f"host {host.name} exports nothing over the network (nbd_listen), so that it can receive no volumes"
        raise errors.Unsupported(reason=reason)
    return host.receiver


def undo_serve(run: Run[MoveArgs]) -> None:
    """Also where the process died before it could call the second hook."""
    host_of(run).remove_export(run.id)
    if not is_switched(run):
        call_at_destination(read_places(run), "after_volume_copy")


def unserve(run: Run[MoveArgs]) -> None:
    """End the export, and what came by it is on stable storage then. WriteFailed where the object is too short for it."""
    host, places = host_of(run), read_places(run)
    host.remove_export(run.id)
    _sync(places.destination.driver.location(places.there), places.there.size)
    call_at_destination(places, "after_volume_copy")


def _sync(location: Location, size: int) -> None:
    """The copy has flushed it: this is for an error of a write that came in after that, and for who switches without one."""
    if location.scheme not in LOCAL:
        return
    name = location.path.name
    try:
        fd = os.open(location.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
            found = os.lseek(fd, 0, os.SEEK_END)
        finally:
            os.close(fd)
    except OSError as error:
        raise errors.WriteFailed(destination=name, offset=0, reason=error.strerror or str(error)) from error
    if found < size:
        reason = f"it ends there, and the volume has {size} bytes"
        raise errors.WriteFailed(destination=name, offset=found, reason=reason)


def mend_served(host: Host) -> int:
    """Start exports again by which volumes are to come to this host, and that do not answer; returns how many."""
    if host.receiver is None:
        return 0
    with host.database.read() as conn:
        coming = [each for each in repositories.moves.select(conn) if each.host == host.name and not each.switched]
    return sum(_try_to_mend(host, host.receiver, each) for each in coming)


def _try_to_mend(host: Host, receiver: Exporter, move: Move) -> bool:
    """One that cannot be started now is tried again at the next maintenance, of which it keeps nothing else up."""
    try:
        return _mend(host, receiver, move)
    except errors.Error as error:
        log.error("the export of a migration cannot be started", volume=move.id, reason=str(error))
        return False


def _mend(host: Host, receiver: Exporter, move: Move) -> bool:
    operation = _copying(host, move)
    if operation is None or receiver.health(operation.id).ok:
        return False
    with host.database.read() as conn:
        volume, secret = repositories.volumes.get(conn, move.id), secrets.of(conn, operation.id)
        there = volume_ref(conn, moves.there(volume, move))
    if secret is None:
        return False
    log.warning("starting the export of a migration again", operation=operation.id, volume=move.id)
    location = host.backend(move.backend).driver.location(there)
    _export(host, operation.id, move.id, location, secret, operation.results[SERVE]["port"])
    if _copying(host, move) is None:  # it went on meanwhile, and has removed its export already
        host.remove_export(operation.id)
    return True


def _copying(host: Host, move: Move) -> Operation | None:
    """The operation, while its bytes come: then its step is on another host."""
    with host.database.read() as conn:
        found = journal.rows.find(conn, move.operation_id)
    if found is None or found.state != model.RUNNING or found.step_host == host.name:
        return None
    return found if SERVE in found.results and COPY not in found.results else None
