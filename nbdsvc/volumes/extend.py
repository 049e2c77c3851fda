"""Extend a volume, also while it is in use."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.qos.keep import keep_volume
from nbdsvc.refs import read_volume_ref
from nbdsvc.store import quotas, repositories, transitions
from nbdsvc.units import GiB


@dataclass(frozen=True)
class ExtendArgs:
    """Arguments of the operation `volume.extend`."""

    volume_id: str
    new_size: int
    """GiB."""


def extend_volume(app: App, context: Context, id: str, new_size: int, *, online: bool) -> None:
    """Start growing a volume to `new_size` GiB; `online`: also while it is in use (microversion 3.42).

    Raises NotFound, InvalidInput (not larger than it is), InvalidState, QuotaExceeded and OutOfSpace.
    """
    rule = states.VOLUME["extend online" if online else "extend"]
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        volume = _check_growth(app, conn, volume, new_size)
        repositories.volumes.transition(
            conn, id, rule.sources, "extending", action="extend", target_size=new_size, previous_status=volume.status
        )
        args = ExtendArgs(id, new_size)
        app.submit(conn, context, EXTEND_VOLUME, args, backend=volume, resource=("volume", id))


def _check_larger(volume: Volume, new_size: int) -> None:
    if new_size <= volume.size:
        reason = f"must be greater than the current size of {volume.size} GiB"
        raise errors.InvalidInput(field="new_size", value=new_size, reason=reason)


def _check_growth(app: App, conn: sa.Connection, volume: Volume, new_size: int) -> Volume:
    """The volume, which stays as it is until the commit: held after the quotas and before the pool, as new volumes hold their
    source.
    """
    _check_larger(volume, new_size)
    defaults, more = app.settings.quotas, new_size - volume.size
    quotas.check_volume_size(conn, volume.project_id, defaults, new_size)
    quotas.check(app.database, conn, volume.project_id, defaults, {"gigabytes": more})
    volume = repositories.volumes.get_for_update(conn, volume.id, volume.project_id)
    _check_larger(volume, new_size)
    placement.check_growth(app, conn, volume.full_host, more)
    return volume


def _locks(args: ExtendArgs) -> list[Lock]:
    return locks("volume.extend", volume=args.volume_id)


def _extend(run: Run[ExtendArgs]) -> None:
    host, id, new_size = host_of(run), run.args.volume_id, run.args.new_size * GiB
    backend_of(run).driver.extend_volume(read_volume_ref(run, id), new_size)
    with host.database.read() as conn:
        attachments = repositories.attachments_of(conn, id)
    for attachment in attachments:
        if attachment.exported and attachment.protocol:
            host.exporter(attachment.protocol).resize(attachment.id, new_size)
    keep_volume(host, id)


def _succeed(conn: sa.Connection, _operation: Operation, args: ExtendArgs) -> None:
    changes = {"size": args.new_size, "target_size": None}
    transitions.finish_volume(conn, args.volume_id, "extending", states.PREVIOUS, **changes)


def _fail(conn: sa.Connection, _operation: Operation, args: ExtendArgs, error: errors.Error) -> None:
    """Restore the status where the backend refused because the device is busy."""
    target = states.PREVIOUS if isinstance(error, errors.DeviceBusy) else "error_extending"
    transitions.finish_volume(conn, args.volume_id, "extending", target, target_size=None)


EXTEND_VOLUME = OperationType(
    "volume.extend", ExtendArgs, (Step("extend", _extend),), _locks, _succeed, _fail, modifies=True
)
