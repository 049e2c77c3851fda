"""The repairs of --fix on the storage host: they remove unneeded objects, none with a byte of a volume or snapshot."""

from collections.abc import Callable, Collection, Iterable

import structlog

from nbdsvc import journaled_copy
from nbdsvc.explain.finding import Finding
from nbdsvc.host import Host
from nbdsvc.model.operation import Lock
from nbdsvc.operations.locks import remove_unheld

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


HOST_FIXES: dict[str, Callable[[Host, Finding], None]] = {
    "export.without_row": _remove_export,
    "export.orphan": _remove_export,
    "journal.stale": _remove_journal,
    "lock.left": _remove_lock,
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
