"""How rows come to rest when an operation ends. Compare-and-swap: a status that somebody reset meanwhile stays theirs."""

from typing import Any

import sqlalchemy as sa

from nbdsvc.model import states
from nbdsvc.store import nouns, tables


def volume(conn: sa.Connection, id: str, during: str | tuple[str, ...], target: str, **changes: Any) -> None:
    """From the in-flight status(es) to `target`; PREVIOUS means what the attachments call for."""
    sources = [during] if isinstance(during, str) else list(during)
    if target == states.PREVIOUS:
        target = by_attachments(conn, id)
    _set(conn, tables.volumes, id, sources, target, changes)


def snapshot(conn: sa.Connection, id: str, during: str, target: str, **changes: Any) -> None:
    _set(conn, tables.snapshots, id, [during], target, changes)


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
    movable = sorted(states.VOLUME_WAITING | {"available", "in-use", "error_attaching", "error_detaching"})
    _set(conn, tables.volumes, volume_id, movable, by_attachments(conn, volume_id), {})


def _set(
    conn: sa.Connection, table: sa.Table, id: str, sources: list[str], target: str, changes: dict[str, Any]
) -> None:
    from nbdsvc.model import clock

    values = {"status": target, "updated_at": clock.now(), **changes}
    conn.execute(table.update().where(table.c.id == id, table.c.status.in_(sources)).values(values))
