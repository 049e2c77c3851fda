"""The repairs of --fix on the storage host: they remove unneeded objects, none with a byte of a volume or snapshot."""

from collections.abc import Callable, Collection, Iterable

import structlog

from nbdsvc import journaled_copy
from nbdsvc.explain.finding import Finding
from nbdsvc.host import Host
from nbdsvc.model.operation import Lock
from nbdsvc.operations.locks import remove_unheld
from nbdsvc.refs import temporary_snapshot_ref, temporary_volume_ref, volume_ref
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)


def _remove_export(host: Host, finding: Finding) -> None:
    host.remove_export(finding.id)


def _remove_journal(host: Host, finding: Finding) -> None:
    journaled_copy.remove_journal_of(host, finding.id)


def _remove_lock(host: Host, finding: Finding) -> None:
    if host.locks:
        remove_unheld(host.locks, Lock(finding.id))


def _discard_digests(host: Host, finding: Finding) -> None:
    host.digests.discard(finding.id)


def _remove_device(host: Host, finding: Finding) -> None:
    """A snapshot or a clone; one that is not there is removed. It has no byte that the volume has not."""
    with host.database.read() as conn:
        backup = repositories.backups.find(conn, finding.id)
        volume = repositories.volumes.find(conn, backup.volume_id) if backup else None
        ref = volume_ref(conn, volume) if volume else None
    if backup is None or volume is None or ref is None or backup.status == "creating":
        return
    backend = host.of(volume)
    if backend.able.instant_snapshot:
        backend.snapshots().delete_snapshot(temporary_snapshot_ref(backup.id, ref, None))
    if backend.able.instant_clone:
        backend.driver.delete_volume(temporary_volume_ref(backup.id, ref, None))


HOST_FIXES: dict[str, Callable[[Host, Finding], None]] = {
    "export.without_row": _remove_export,
    "export.orphan": _remove_export,
    "journal.stale": _remove_journal,
    "lock.left": _remove_lock,
    "backup.device_left": _remove_device,
    "digests.left": _discard_digests,
    "digests.outdated": _discard_digests,
}


def mend(host: Host, found: Iterable[Finding], keys: Collection[str]) -> list[str]:
    """Make the repairs of these keys that belong here; returns these keys. Raises errors of exporters and OSError."""
    mended = []
    for finding in found:
        if finding.key in keys and finding.kind in HOST_FIXES:
            log.warning("mending", finding=finding.key, reason=finding.message)
            HOST_FIXES[finding.kind](host, finding)
            mended.append(finding.key)
    return mended
