"""Ids that a backend's objects have got by themselves, taken over at its start (S083)."""

from collections.abc import Sequence
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.driver import ProviderInfoDriver, ProviderUpdate
from nbdsvc.host import Backend, Host
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.refs import snapshot_ref, volume_ref
from nbdsvc.store import repositories, tables
from nbdsvc.store.repository import Repository

log = structlog.get_logger(__name__)


def take_over(host: Host, backend: Backend) -> bool:
    """Write the provider ids that the driver gives its objects now. False, and an error in the log, where it fails."""
    if not isinstance(backend.driver, ProviderInfoDriver):
        return True
    column = tables.volumes.c
    with host.database.read() as conn:
        rows = repositories.volumes.select(conn, column.host == host.name, column.backend == backend.name)
        volumes = {row.id: row for row in rows}
        snapshots = {row.id: row for row in repositories.snapshots.select(conn) if row.volume_id in volumes}
        refs = [volume_ref(conn, row) for row in rows]
    snapshot_refs = [snapshot_ref(row, volumes[row.volume_id]) for row in snapshots.values()]
    try:
        found, of_snapshots = backend.driver.update_provider_info(refs, snapshot_refs)
    except errors.Error as error:
        log.error("backend does not say which ids its objects have", backend=backend.name, reason=str(error))
        return False
    unnamed = {id: row for id, row in snapshots.items() if row.provider_id is None}
    _write(host, repositories.volumes, volumes, found)
    _write(host, repositories.snapshots, unnamed, of_snapshots)
    return True


def _write(
    host: Host, rows: Repository[Any], known: dict[str, Volume] | dict[str, Snapshot], updates: Sequence[ProviderUpdate]
) -> None:
    """Where it differs: most starts change nothing."""
    changed = {
        str(update["id"]): update.get("provider_id")
        for update in updates
        if update["id"] in known and known[update["id"]].provider_id != update.get("provider_id")
    }
    if changed:
        with host.database.write() as conn:
            for id, provider_id in changed.items():
                rows.update(conn, id, provider_id=provider_id)
