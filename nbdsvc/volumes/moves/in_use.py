"""Migrate a volume that is in use, to another pool of its host: the server of its export takes it there under its client.

    submit, create   as of a volume that is not in use
    mirror           the server of the attachment's export writes to both places, and copies the rest
    switch           the server goes on from the destination; then the rows change their places, in one transaction
    finish, remove   as of a volume that is not in use; then the server's record goes

The server's record decides where the volume is, from the moment in which both places are equal until the rows say the same
(nbdsvc/exports/nbd/moved.py): whoever looks by the rows alone meanwhile, such as a repair of the export, is led to the right
place by it. So each step looks there first. A switch that has not been recorded is undone, one that has goes forward.
"""

from dataclasses import replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.exporter import MirrorExporter
from nbdsvc.host import host_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import backends, moves, repositories
from nbdsvc.volumes.moves import ends
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.create import create_destination, remove_destination
from nbdsvc.volumes.moves.finish import finish, remove_source
from nbdsvc.volumes.moves.hooks import call_hooks
from nbdsvc.volumes.moves.mirror import InUseArgs, end_mirror, exporter_of, mirror, switch, undo_mirror
from nbdsvc.volumes.moves.places import read_places
from nbdsvc.volumes.moves.submit import check_nothing_stays, submit_kind

# Transports whose servers can mirror.
_MIRRORING = ("nbd",)


def check_movable_in_use(conn: sa.Connection, volume: Volume) -> str:
    """The id of the attachment whose export will mirror. Unsupported where there are several, where it is not connected, and
    where its transport cannot mirror; else as check_movable.
    """
    backends.check_not_frozen(conn, volume.full_host)
    check_nothing_stays(conn, volume, "be migrated")
    attached = [each for each in repositories.attachments_of(conn, volume.id) if each.status != "detached"]
    if reason := _obstacle(attached):
        raise errors.Unsupported(reason=f"volume {volume.id} is in use, and cannot be migrated now: {reason}")
    return attached[0].id


def _obstacle(attached: list[Attachment]) -> str | None:
    if len(attached) != 1:
        return f"it has {len(attached)} attachments, and the export of one can mirror it"
    (only,) = attached
    if not only.exported or only.status != "attached":
        return f"its attachment {only.id} is {only.status}, and not connected"
    if only.protocol not in _MIRRORING:
        return f"its attachment {only.id} is exported by {only.protocol}, which cannot mirror; only nbd can"
    return None


def submit_in_use(
    app: App, conn: sa.Connection, context: Context, volume: Volume, destination: str, args: InUseArgs
) -> None:
    """Submit the migration to `host@backend#pool`. The volume's status stays: its client goes on. Unsupported for another
    host, whose server no client would find.
    """
    if names.split_host(destination)[0] != volume.host:
        reason = f"volume {volume.id} is in use, and can be migrated within its host only; detach it first"
        raise errors.Unsupported(reason=reason)
    submit_kind(app, conn, context, MIGRATE_IN_USE, args, volume, destination, volume.volume_type_id)


def _begin(run: Run[InUseArgs]) -> dict[str, bool]:
    """No driver moves a volume under its client."""
    with host_of(run).database.write() as conn:
        moves.change_status(conn, run.args.volume_id, "make the destination")
    return {"moved": False}


def _remove_destination(run: Run[InUseArgs]) -> None:
    """Only where it is certain that the server has not switched to it, also after an undo of the mirror that failed. Where it
    is not certain, the error says so, and commands for the volume wait until it is (store/moves.py).
    """
    try:
        is_there = end_mirror(host_of(run), run.args.volume_id, run.args.attachment_id)
    except (errors.Interrupted, errors.DatabaseUnavailable):
        raise
    except Exception as error:  # also of a database that does not take the rows of a server that has switched
        raise errors.Conflict(reason=f"{moves.UNKNOWN_PLACE}: {error}") from error
    if not is_there:
        remove_destination(run)


def _finish(run: Run[InUseArgs]) -> None:
    """The server serves the destination alone."""
    call_hooks(read_places(run), "after_volume_copy")
    finish(run)


def _remove_source(run: Run[InUseArgs]) -> None:
    """The record goes last: a repair of the export that has read the rows before they changed may still be under way, and
    would serve the source while there is one.
    """
    exporter: MirrorExporter = exporter_of(run)
    remove_source(run)
    exporter.forget_move(run.args.attachment_id)


def _locks(args: InUseArgs) -> list[Lock]:
    return locks("volume.migrate_in_use", volume=args.volume_id)


def _unlocking(args: MoveArgs) -> MoveArgs:
    """Its status was never changed."""
    return replace(args, lock_volume=False)


def _succeed(conn: sa.Connection, operation: Operation, args: InUseArgs) -> None:
    ends.succeed(conn, operation, _unlocking(args), "in-use")


def _fail(conn: sa.Connection, operation: Operation, args: InUseArgs, error: errors.Error) -> None:
    ends.fail(conn, operation, _unlocking(args), error, "in-use")


STEPS: tuple[Step[InUseArgs], ...] = (
    Step("move", _begin),
    Step("create", create_destination, _remove_destination),
    Step("mirror", mirror, undo_mirror, copies=always),
    Step("switch", switch, stoppable=False),
    Step("finish", _finish, stoppable=False),
    Step("remove", _remove_source, stoppable=False),
)

MIGRATE_IN_USE = OperationType("volume.migrate_in_use", InUseArgs, STEPS, _locks, _succeed, _fail, modifies=True)
