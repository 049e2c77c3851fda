"""How rows come to rest when an operation ends. Compare-and-swap: a status that was reset meanwhile stays as it was set.

An end that finds its row elsewhere says so in the log: it is either an administrator's reset or a fault.
"""

from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc.model import states
from nbdsvc.store import nouns
from nbdsvc.store.rows import Rows

log = structlog.get_logger(__name__)


def volume(conn: sa.Connection, id: str, during: str | tuple[str, ...], target: str, **changes: Any) -> None:
    """From the in-flight status(es) to `target`; PREVIOUS means what the attachments call for."""
    sources = [during] if isinstance(during, str) else list(during)
    if target == states.PREVIOUS:
        target = by_attachments(conn, id)
    _settle(nouns.volumes, conn, id, sources, target, changes)


def snapshot(conn: sa.Connection, id: str, during: str, target: str, **changes: Any) -> None:
    _settle(nouns.snapshots, conn, id, [during], target, changes)


def attachment(conn: sa.Connection, id: str, during: tuple[str, ...], target: str, **changes: Any) -> None:
    _settle(nouns.attachments, conn, id, list(during), target, changes)


def by_attachments(conn: sa.Connection, volume_id: str) -> str:
    """The status that a volume's attachments give it: the most engaged one wins."""
    found = {attachment.status for attachment in nouns.attachments_of(conn, volume_id) if not attachment.legacy}
    legacy = {attachment.status for attachment in nouns.attachments_of(conn, volume_id) if attachment.legacy}
    if "attached" in found | legacy:
        return "in-use"
    for status in ("attaching", "reserved"):
        if status in found:
            return status
    return "available"


def follow_attachments(conn: sa.Connection, volume_id: str) -> None:
    """Bring a volume that is not in the hands of another operation to the status that its attachments give it."""
    movable = states.VOLUME["follow attachments"].sources
    nouns.volumes.transition_if(conn, volume_id, movable, by_attachments(conn, volume_id))


def _settle(
    rows: Rows[Any], conn: sa.Connection, id: str, sources: list[str], target: str, changes: dict[str, Any]
) -> None:
    if not rows.transition_if(conn, id, sources, target, **changes):
        found = getattr(rows.find(conn, id), "status", "gone")
        log.warning("an operation's end found its row elsewhere", noun=rows.noun, id=id, status=found, wanted=target)
