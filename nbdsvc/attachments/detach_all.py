"""Ending several attachments of one volume at once: a forced deletion, and os-reset_status."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.host import host_of
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import ACCESS, OperationType, Run, Step
from nbdsvc.store import repositories, transitions


@dataclass(frozen=True)
class DetachAllArgs:
    """Arguments of the operation `volume.detach_all`."""

    volume_id: str
    attachment_ids: tuple[str, ...]
    status: str | None = None
    """What the volume's is to be afterwards. None: what the attachments that are left give it."""


def submit_detach_all(
    app: App, conn: sa.Connection, context: Context, volume: Volume, attachments: list[Attachment], status: str | None
) -> str:
    """Submit, in the caller's transaction, the operation that ends these attachments and deletes their rows. Returns its id.

    status: the volume's status afterwards; None: as the remaining attachments imply.
    """
    ids = [attachment.id for attachment in attachments]
    end_of_access.cancel_connects(conn, volume, ids)
    args, resource = DetachAllArgs(volume.id, tuple(ids), status), ("volume", volume.id)
    return app.submit(conn, context, DETACH_ALL, args, backend=volume, resource=resource, bounded=False).id


def _locks(args: DetachAllArgs) -> list[Lock]:
    return locks("volume.detach_all", attachment=list(args.attachment_ids))


def _unexport_all(run: Run[DetachAllArgs]) -> None:
    for id in run.args.attachment_ids:
        end_of_access.remove_export(host_of(run), id)


def _succeed(conn: sa.Connection, _operation: Operation, args: DetachAllArgs) -> None:
    for id in args.attachment_ids:
        repositories.attachments.delete(conn, id)
    if args.status is None:
        transitions.follow_attachments(conn, args.volume_id)


DETACH_ALL = OperationType(
    "volume.detach_all",
    DetachAllArgs,
    (Step("unexport", _unexport_all),),
    _locks,
    _succeed,
    # A failure leaves the rows as they were; the next repair of exports removes what is left.
    modifies=False,
    removes=True,
    lane=ACCESS,
    first=_unexport_all,
)
