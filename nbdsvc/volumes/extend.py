"""Extend a volume, also while it is in use."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.app import App, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import read_volume_ref
from nbdsvc.store import nouns, quotas
from nbdsvc.units import GiB


def extend_volume(app: App, context: Context, id: str, new_size: int, *, online: bool) -> None:
    """Start growing a volume to `new_size` GiB; `online`: also while it is in use (microversion 3.42).

    Raises NotFound, InvalidInput (not larger than it is), InvalidState, QuotaExceeded and OutOfSpace.
    """
    rule = states.VOLUME["extend online" if online else "extend"]
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if new_size <= volume.size:
            raise errors.InvalidInput(
                field="new_size", value=new_size, reason=f"must be greater than the current size of {volume.size} GiB"
            )
        _check_growth(app, conn, volume, new_size)
        nouns.volumes.transition(
            conn, id, rule.sources, "extending", action="extend", target_size=new_size, previous_status=volume.status
        )
        args = {"volume_id": id, "new_size": new_size}
        held = locks("volume.extend", volume=id)
        app.operations.admit(conn, operation(app, context, "volume.extend", volume.host, ("volume", id), held, args))


def _check_growth(app: App, conn: sa.Connection, volume: Volume, new_size: int) -> None:
    defaults, more = app.settings.quotas, new_size - volume.size
    quotas.check_volume_size(conn, volume.project_id, defaults, new_size)
    quotas.check(app.database, conn, volume.project_id, defaults, {"gigabytes": more})
    placement.check_growth(app, conn, volume.host, more)


def _extend(run: Run) -> None:
    host = host_of(run)
    backend_of(run).driver.extend_volume(read_volume_ref(run, run.args["volume_id"]), run.args["new_size"] * GiB)
    with host.database.read() as conn:
        attachments = nouns.attachments_of(conn, run.args["volume_id"])
    for attachment in attachments:
        if attachment.exported:
            backend_of(run).exporter.resize(attachment.id, run.args["new_size"] * GiB)


def _extended(conn: sa.Connection, operation: Operation) -> None:
    changes = {"size": operation.args["new_size"], "target_size": None}
    settling.volume(conn, operation.resource_id, "extending", states.PREVIOUS, **changes)


def _restore_or_error(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """As before where the backend refused because the device is busy."""
    target = states.PREVIOUS if isinstance(error, errors.DeviceBusy) else "error_extending"
    settling.volume(conn, operation.resource_id, "extending", target, target_size=None)


EXTEND_VOLUME = Kind("volume.extend", (Step("extend", _extend),), _extended, _restore_or_error)
