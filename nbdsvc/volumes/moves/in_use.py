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
from nbdsvc.exporter import MirrorExporter
from nbdsvc.host import host_of
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import moves
from nbdsvc.volumes.moves import ends
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.create import create_destination, remove_destination
from nbdsvc.volumes.moves.finish import finish, remove_source
from nbdsvc.volumes.moves.hooks import call_hooks
from nbdsvc.volumes.moves.mirror import InUseArgs, end_mirror, exporter_of, mirror, switch, undo_mirror
from nbdsvc.volumes.moves.places import read_places


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


def succeed_in_use(conn: sa.Connection, operation: Operation, args: InUseArgs) -> None:
    """As ends.succeed: its status was never changed."""
    ends.succeed(conn, operation, _unlocking(args), "in-use")


def fail_in_use(conn: sa.Connection, operation: Operation, args: InUseArgs, error: errors.Error) -> None:
    """As ends.fail."""
    ends.fail(conn, operation, _unlocking(args), error, "in-use")


STEPS: tuple[Step[InUseArgs], ...] = (
    Step("move", _begin),
    Step("create", create_destination, _remove_destination),
    Step("mirror", mirror, undo_mirror, copies=always),
    Step("switch", switch, stoppable=False),
    Step("finish", _finish, stoppable=False),
    Step("remove", _remove_source, stoppable=False),
)

MIGRATE_IN_USE = OperationType(
    "volume.migrate_in_use", InUseArgs, STEPS, _locks, succeed_in_use, fail_in_use, modifies=True
)
