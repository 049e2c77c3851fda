"""Ends access: submitted at once, whatever other operations the volume has, and run without waiting for them.

These operations lock their attachments only. A connect that has not ended may wait for a copy of the volume; it is
cancelled, because what it would export is to be removed.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments.arguments import AttachmentArgs
from nbdsvc.host import Host
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.store import operations as journal

log = structlog.get_logger(__name__)
# Key of sa.Connection.info: attachment -> name of the operation that ends its access.
_ENDS = "ends of access"


def submit(
    app: App, conn: sa.Connection, context: Context, kind: OperationType[AttachmentArgs], volume: Volume, id: str
) -> str:
    """The operation of this type (attachment.delete, attachment.terminate) for the attachment: a new one, or one under way.

    A client that loses patience and repeats its request a thousand times queues one operation.
    """
    conn.info.get(_ENDS, {})[id] = kind.name
    for found in journal.unfinished_of(conn, volume.id):
        if found.args.get("attachment_id") == id and found.kind == kind.name and not found.cancel_requested:
            return found.id
    cancel_connects(conn, volume, [id])
    args, resource = AttachmentArgs(volume.id, id), ("volume", volume.id)
    return app.submit(conn, context, kind, args, backend=volume, resource=resource, bounded=False).id


def cancel_connects(conn: sa.Connection, volume: Volume, ids: list[str]) -> None:
    """Request the cancellation of every unfinished connect of these attachments."""
    for found in journal.unfinished_of(conn, volume.id):
        if found.kind == "attachment.connect" and found.args["attachment_id"] in ids:
            journal.request_cancel(conn, found.id)


@contextmanager
def transaction(app: App, known: dict[str, str] | None = None) -> Iterator[sa.Connection]:
    """A write transaction that submits ends of access. Where the database does not take it, access is ended all the same.

    known: attachments of which that is clear beforehand, and the kinds of their operations. BackendUnavailable says what was
    ended; in a process that has no exports, only that nothing was.
    """
    ends = dict(known or {})
    try:
        with app.change() as conn:
            conn.info[_ENDS] = ends
            try:
                yield conn
            finally:
                del conn.info[_ENDS]
    except errors.BackendUnavailable as error:
        if error.backend != "database" or not ends or app.end_access is None:
            raise
        app.end_access(ends)
        reason = f"{error.reason}; the access of {', '.join(ends)} was ended all the same, and will be recorded later"
        raise errors.BackendUnavailable(backend="database", reason=reason) from error


def end_unrecorded(host: Host, ends: dict[str, str]) -> None:
    """End the access of these attachments now; written down first, so that nothing exports them again."""
    for id, kind in ends.items():
        host.ended.add(id, kind)
        log.error("access is ended without a record", attachment=id)
        remove_export(host, id)


def remove_export(host: Host, id: str) -> None:
    """Remove the export of this attachment, also where this process has no file descriptor left. ExportFailed."""
    try:
        host.remove_export(id)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        with host.spare.lent():
            host.remove_export(id)
