"""Accept a transfer: by its key, into the project of whoever has that.

The volume and the snapshots that go with it change their project in one transaction, with the quota of the new one checked
in it; use is counted from the rows, so that neither project is ever charged for both or none. Where the backend's driver
keeps something of a volume's owner (TransferDriver), an operation tells it, and the volume stays `awaiting-transfer`, in its
new project, until it has; where it cannot, everything is as before and the transfer may be accepted again.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, Waiting
from nbdsvc.backends import placement
from nbdsvc.host import backend_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Transfer, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_volume_ref
from nbdsvc.store import backends, quotas, repositories, transfers, transitions
from nbdsvc.transfers.auth_key import is_key
from nbdsvc.transfers.create import check_snapshots
from nbdsvc.types.queries import usable_type

# Wrong keys that a transfer stands: people mistype, and a key is beyond guessing anyway.
MAX_TRIES = 10
_AWAITING = "awaiting-transfer"


@dataclass(frozen=True)
class AcceptTransferArgs:
    """Arguments of the operation `volume.accept_transfer`. old_*: the owner to whom it goes back where it fails."""

    transfer_id: str
    volume_id: str
    user_id: str
    project_id: str
    old_user_id: str
    old_project_id: str
    snapshot_ids: tuple[str, ...] = ()
    """Snapshots that go with the volume."""


def accept_transfer(app: App, context: Context, id: str, auth_key: str) -> Waiting[Transfer]:
    """Give the volume to the project of the context; the result is the transfer, which is then gone.

    Raises NotFound, InvalidInput (the key, or too many wrong ones; a type that the project may not use), Frozen,
    InvalidState (of the volume or a snapshot), Conflict where another request accepts it, QuotaExceeded; by the operation:
    what the driver raises.
    """
    found = _with_key(app, id, auth_key)
    with app.change() as conn:
        if not transfers.take(conn, id, context.project_id):
            raise errors.Conflict(reason=f"transfer {id} is accepted by another request, or was withdrawn")
        volume = repositories.volumes.get(conn, found.volume_id)
        args = _arguments(conn, context, found, volume)
        _check(app, conn, context, volume, args)
        transfers.change_owner(conn, volume.id, args.snapshot_ids, args.project_id, args.user_id)
        if not placement.implements(conn, volume.full_host, "TransferDriver"):
            _finish(conn, args)
            return Waiting((), 0, lambda: found)
        owned = repositories.volumes.get(conn, volume.id)
        made = app.submit(conn, context, ACCEPT_TRANSFER, args, backend=owned, resource=("volume", volume.id))
    return Waiting((made.id,), app.settings.attach_timeout, lambda: found)


def _with_key(app: App, id: str, auth_key: str) -> Transfer:
    """The transfer that the key opens. The try is counted, and that committed, before the key is looked at."""
    with app.change() as conn:
        found = repositories.transfers.get(conn, id)
        allowed = transfers.count_try(conn, id, MAX_TRIES)
    if not allowed:
        reason = f"{MAX_TRIES} wrong keys were given: the transfer has to be made anew"
        raise errors.InvalidInput(field="auth_key", value=None, reason=reason)
    if not is_key(auth_key, found.salt, found.key_hash):
        raise errors.InvalidInput(field="auth_key", value=None, reason="it is not the key of this transfer")
    with app.change() as conn:
        transfers.forget_tries(conn, id)
    return found


def _arguments(conn: sa.Connection, context: Context, found: Transfer, volume: Volume) -> AcceptTransferArgs:
    snapshots = [] if found.no_snapshots else repositories.snapshots_of(conn, volume.id)
    own = tuple(each.id for each in snapshots if each.project_id == volume.project_id)
    new, old = (context.user_id, context.project_id), (volume.user_id, volume.project_id)
    return AcceptTransferArgs(found.id, volume.id, *new, *old, own)


def _check(app: App, conn: sa.Connection, context: Context, volume: Volume, args: AcceptTransferArgs) -> None:
    """Refuse what may have changed since it was offered, and what the new project may not have."""
    backends.check_not_frozen(conn, volume.full_host)
    if args.project_id != volume.project_id:
        _check_quota(app, conn, volume, args)
    volume = repositories.volumes.get_for_update(conn, volume.id)
    if volume.status != _AWAITING:
        allowed = states.VOLUME["end transfer"].allowed()
        facts = {"resource": "Volume", "id": volume.id, "action": "be accepted", "status": volume.status}
        raise errors.InvalidState(**facts, allowed=allowed)
    if repositories.attachments_of(conn, volume.id):
        raise errors.InvalidInput(field="transfer", value=args.transfer_id, reason="its volume is attached")
    if args.snapshot_ids:
        check_snapshots(conn, volume)
    _check_type(app, conn, context, volume)


def _check_quota(app: App, conn: sa.Connection, volume: Volume, args: AcceptTransferArgs) -> None:
    sizes = [repositories.snapshots.get(conn, id).volume_size for id in args.snapshot_ids]
    more = {"volumes": 1, "gigabytes": volume.size + sum(sizes), "snapshots": len(sizes)}
    quotas.check(app.database, conn, args.project_id, app.settings.quotas, more)
    quotas.check_volume_size(conn, args.project_id, app.settings.quotas, volume.size)


def _check_type(app: App, conn: sa.Connection, context: Context, volume: Volume) -> None:
    try:
        usable_type(app, conn, context, volume.volume_type_id)
    except errors.NotFound:
        reason = "its volume has a type that this project may not use"
        raise errors.InvalidInput(field="transfer", value=volume.id, reason=reason) from None


def _finish(conn: sa.Connection, args: AcceptTransferArgs) -> None:
    transitions.finish_volume(conn, args.volume_id, _AWAITING, "available")
    repositories.transfers.delete(conn, args.transfer_id)


def _locks(args: AcceptTransferArgs) -> list[Lock]:
    return locks("volume.accept_transfer", volume=args.volume_id)


def _tell(run: Run[AcceptTransferArgs], user: str, project: str) -> None:
    """Tell the driver who owns the volume; what it returns is kept before the step ends. A driver of another kind by now has
    nothing to be notified of.
    """
    if driver := backend_of(run).transfers():
        volume = read_volume_ref(run, run.args.volume_id)
        keep_state(run, repositories.volumes, volume.id, driver.accept_transfer(volume, user, project))


def _accept(run: Run[AcceptTransferArgs]) -> None:
    _tell(run, run.args.user_id, run.args.project_id)


def _undo(run: Run[AcceptTransferArgs]) -> None:
    _tell(run, run.args.old_user_id, run.args.old_project_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: AcceptTransferArgs) -> None:
    _finish(conn, args)


def _fail(conn: sa.Connection, _operation: Operation, args: AcceptTransferArgs, error: errors.Error) -> None:
    """It is its old project's again. What the driver keeps is known where it was taken back; else the volume is `error`."""
    transfers.change_owner(conn, args.volume_id, args.snapshot_ids, args.old_project_id, args.old_user_id)
    transfers.give_back(conn, args.transfer_id)
    if isinstance(error, errors.RollbackFailed):
        transitions.finish_volume(conn, args.volume_id, _AWAITING, "error")


ACCEPT_TRANSFER = OperationType(
    "volume.accept_transfer",
    AcceptTransferArgs,
    (Step("accept", _accept, _undo),),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
