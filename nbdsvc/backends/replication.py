"""What a backend's host does for replication without being called: at its start, and at intervals (S048)."""

import structlog

from nbdsvc import errors
from nbdsvc.driver import ReplicaDriver, ReplicatedDriver, replication_columns
from nbdsvc.host import Backend, Host
from nbdsvc.model import names, states
from nbdsvc.model.entities import StorageBackend, Volume
from nbdsvc.refs import volume_ref
from nbdsvc.store import backends, replication, repositories, tables

log = structlog.get_logger(__name__)


def set_active(host: Host, backend: Backend) -> None:
    """Before the driver is set up: say which target serves the backend, as far as its row knows."""
    if isinstance(backend.driver, ReplicatedDriver):
        row = _row(host, backend)
        backend.driver.set_active_backend((row.active_backend_id if row else None) or "")


def look_again(host: Host, backend: Backend) -> None:
    """After it: a failover that ended badly may be tried again, because the driver can be set up as things are."""
    row = _row(host, backend)
    if row and row.replication_status in states.REPLICATION["look again"].sources:
        rule = states.REPLICATION["look again failed over" if row.active_backend_id else "look again"]
        with host.database.write() as conn:
            replication.move(conn, row.id, rule.sources, str(rule.done))
        log.warning("replication is looked at anew", backend=backend.name, was=row.replication_status, now=rule.done)


def follow_report(host: Host, backend: Backend) -> None:
    """Replication of a backend is enabled when its driver has a target, and disabled when it has none any more."""
    row = _row(host, backend)
    rule = states.REPLICATION["replicate" if backend.replication_targets else "stop replicating"]
    if row and row.replication_status in rule.sources:
        with host.database.write() as conn:
            replication.move(conn, row.id, rule.sources, str(rule.done))


def _row(host: Host, backend: Backend) -> StorageBackend | None:
    with host.database.read() as conn:
        return backends.find(conn, names.join_host(host.name, backend.name))


def refresh(host: Host, backend: Backend) -> None:
    """Read the status of each replica, and keep it. One that cannot be read stays as it was, and is in the log."""
    if not (isinstance(backend.driver, ReplicaDriver) and backend.able.replication):
        return
    column = tables.volumes.c
    with host.database.read() as conn:
        rows = repositories.volumes.select(
            conn,
            column.host == host.name,
            column.backend == backend.name,
            column.replication_status.in_(states.REPLICA_STATUSES),
            column.status.not_in(("creating", "downloading", "deleting")),
        )
    for row in rows:
        try:
            _refresh(host, backend.driver, row)
        except errors.Error as error:
            log.warning("the status of a replica cannot be read", volume=row.id, reason=str(error))


def _refresh(host: Host, driver: ReplicaDriver, row: Volume) -> None:
    with host.database.read() as conn:
        ref = volume_ref(conn, row)
    columns = replication_columns(driver.get_replication_status(ref))
    if any(getattr(row, name) != value for name, value in columns.items()):
        with host.database.write() as conn:
            replication.save(conn, row.id, row.replication_status, columns)
