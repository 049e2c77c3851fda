"""The final status of rows when an operation ends. Compare-and-swap: a status that was reset meanwhile stays as it was set.

An end that finds its row in another status, or gone, changes nothing; that is kept with the operation, for the API to
show, and logged: it is either an administrator's reset or a fault.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc.model import states
from nbdsvc.model.entities import Attachment
from nbdsvc.model.operation import Operation
from nbdsvc.store import groups, repositories
from nbdsvc.store.repository import Repository

log = structlog.get_logger(__name__)

Skipped = dict[str, str]
"""resource_type, resource_id, the status that was found (`gone` without a row), and the one that was to come."""
_skipped: ContextVar[list[Skipped] | None] = ContextVar("skipped", default=None)


@contextmanager
def recording_skipped() -> Iterator[list[Skipped]]:
    """The transitions that are not made inside the block: the journal keeps them with the operation that ends."""
    found: list[Skipped] = []
    token = _skipped.set(found)
    try:
        yield found
    finally:
        _skipped.reset(token)


def hold_subjects(conn: sa.Connection, operation: Operation) -> None:
    """Before the end of an operation changes its own row: hold its attachments and its volume, see hold_attached."""
    if operation.resource_type == "volume":
        ids = (operation.args.get("attachment_id"), *operation.args.get("attachment_ids", ()))
        repositories.hold_attached(conn, operation.resource_id, (id for id in ids if id))


def finish_volume(conn: sa.Connection, id: str, during: str | tuple[str, ...], target: str, **changes: Any) -> None:
    """Move the volume from its in-flight status to `target`; PREVIOUS: the status that its attachments imply."""
    sources = [during] if isinstance(during, str) else list(during)
    if target == states.PREVIOUS:
        target = by_attachments(conn, id)
    _finish(repositories.volumes, conn, id, sources, target, changes)


def finish_snapshot(conn: sa.Connection, id: str, during: str, target: str, **changes: Any) -> None:
    """Move the snapshot from its in-flight status to `target`."""
    _finish(repositories.snapshots, conn, id, [during], target, changes)


def finish_backup(conn: sa.Connection, id: str, during: str | tuple[str, ...], target: str, **changes: Any) -> None:
    """Move the backup from its in-flight status to `target`."""
    _finish(repositories.backups, conn, id, [during] if isinstance(during, str) else list(during), target, changes)


def finish_attachment(conn: sa.Connection, id: str, during: tuple[str, ...], target: str, **changes: Any) -> None:
    """Move the attachment from one of the in-flight statuses to `target`."""
    _finish(repositories.attachments, conn, id, list(during), target, changes)


def finish_group(conn: sa.Connection, id: str, during: str, target: str, **changes: Any) -> None:
    """Move the group from its in-flight status to `target`."""
    _finish(groups.groups, conn, id, [during], target, changes)


def finish_group_snapshot(conn: sa.Connection, id: str, during: str, target: str) -> None:
    """Move the group snapshot from its in-flight status to `target`."""
    _finish(groups.group_snapshots, conn, id, [during], target, {})


def by_attachments(conn: sa.Connection, volume_id: str) -> str:
    """The status that a volume's attachments give it."""
    return status_of(repositories.attachments_of(conn, volume_id))


def status_of(attachments: Iterable[Attachment]) -> str:
    """The status that these attachments give their volume: the most engaged one wins."""
    rows = list(attachments)
    if any(row.status == "attached" for row in rows):
        return "in-use"
    found = {row.status for row in rows if not row.legacy}
    for status in ("attaching", "reserved"):
        if status in found:
            return status
    return "available"


def follow_attachments(conn: sa.Connection, volume_id: str) -> None:
    """Give a volume that no other operation works on the status that its attachments call for."""
    movable = states.VOLUME["follow attachments"].sources
    repositories.volumes.transition_if(conn, volume_id, movable, by_attachments(conn, volume_id))


def _finish(
    rows: Repository[Any], conn: sa.Connection, id: str, sources: list[str], target: str, changes: dict[str, Any]
) -> None:
    if rows.transition_if(conn, id, sources, target, **changes):
        return
    status = getattr(rows.find(conn, id), "status", "gone")
    log.warning("a final status was skipped", noun=rows.noun, id=id, status=status, wanted=target)
    if (skipped := _skipped.get()) is not None:
        skipped.append({"resource_type": rows.noun, "resource_id": id, "status": status, "wanted": target})
