"""Fail a backend over to a replication target, or back (os-services/failover_host; S043, S086, trap T9).

    check       the target has to be one: a wrong name interrupts no client
    fence       exports are removed: what a client writes from now on would be lost
    fail over   the driver lets the other site serve the volumes
    record      rows get what the driver said of each volume
    export      attached volumes are exported again, from where they are now

Every volume of the backend is locked meanwhile, so that running operations end first and later ones work at the other site.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments.repair import repair_export
from nbdsvc.backends.freeze import REASON as FROZEN
from nbdsvc.backends.lost_volumes import save_update
from nbdsvc.backends.services import matching
from nbdsvc.driver import DEFAULT_TARGET
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, StorageBackend, Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import volume_ref
from nbdsvc.store import backends, replication, repositories, tables

log = structlog.get_logger(__name__)

# The reason that the service shows for being disabled, as in Cinder.
REASON = "failed-over"
_RULE = states.REPLICATION["fail over"]
_MOVING = frozenset({"failing-over"})


@dataclass(frozen=True)
class FailoverArgs:
    """Arguments of the operation `backend.failover`."""

    backend: str
    """host@backend."""
    target: str | None
    """None: one that the driver chooses; DEFAULT_TARGET: back."""
    before: str
    """The replication status that it had."""
    volume_ids: tuple[str, ...]
    attachment_ids: tuple[str, ...]
    """What it locks: all volumes of the backend, and their attachments."""


def failover_backend(app: App, context: Context, host: str, target: str | None) -> None:
    """Start failing `host@backend` over, or all backends of `host`. The driver's errors are those of the operation.

    Raises NotFound for a host that there is not, InvalidInput where one of the backends does not replicate, or is not
    enabled or failed over.
    """
    with app.change() as conn:
        rows = matching(conn, host)
        if not rows:
            raise errors.NotFound(resource="Service on host", id=host)
        for row in rows:
            _submit(app, conn, context, row, target)


def _submit(app: App, conn: sa.Connection, context: Context, row: StorageBackend, target: str | None) -> None:
    if not replication.move(conn, row.id, _RULE.sources, str(_RULE.during)):
        allowed, status = " or ".join(sorted(_RULE.sources)), row.replication_status
        reason = f"Host replication_status must be {allowed} to failover; that of {row.full_name} is {status}"
        raise errors.InvalidInput(field="host", value=row.full_name[:80], reason=reason)
    volumes, attachments = _all(conn, row.host, row.name)
    ids = tuple(each.id for each in volumes), tuple(each.id for each in attachments)
    args = FailoverArgs(row.full_name, target, row.replication_status, *ids)
    resource = ("backend", row.id)
    app.submit(conn, context, FAILOVER_BACKEND, args, backend=row.full_name, resource=resource, bounded=False)


def _all(conn: sa.Connection, host: str, backend: str) -> tuple[list[Volume], list[Attachment]]:
    """Every volume of the backend, and their attachments."""
    column, places = tables.volumes.c, backends.names_in_rows(conn, host, backend)
    volumes = repositories.volumes.select(conn, column.host == host, column.backend.in_(places))
    return volumes, repositories.attachments_of(conn, *(each.id for each in volumes)) if volumes else []


def _locks(args: FailoverArgs) -> list[Lock]:
    ids = {"volume": list(args.volume_ids), "attachment": list(args.attachment_ids)}
    return locks("backend.failover", backend=args.backend, **ids)


def _check(run: Run[FailoverArgs]) -> None:
    """InvalidReplicationTarget for a name that the driver does not have."""
    target, known = run.args.target, backend_of(run).replicated().replication_targets
    if target not in (None, DEFAULT_TARGET, *known):
        reason = f"the targets of {run.args.backend} are {', '.join(known)}"
        raise errors.InvalidReplicationTarget(field="backend_id", value=str(target)[:80], reason=reason)


def _exported(run: Run[FailoverArgs]) -> list[str]:
    host = host_of(run)
    with host.database.read() as conn:
        _volumes, attachments = _all(conn, host.name, backend_of(run).name)
    return [each.id for each in attachments if each.exported]


def _fence(run: Run[FailoverArgs]) -> None:
    for id in _exported(run):
        host_of(run).remove_export(id)


def _export(run: Run[FailoverArgs]) -> None:
    """What cannot be exported now, the periodic repair of exports goes on with."""
    for id in _exported(run):
        try:
            repair_export(host_of(run), backend_of(run), id)
        except errors.Error as error:
            log.warning("an attachment has no export after a failover", attachment=id, reason=str(error))


def _fail_over(run: Run[FailoverArgs]) -> dict[str, Any]:
    """What the driver returned. Its updates are checked before any of them is kept."""
    host, backend = host_of(run), backend_of(run)
    with host.database.read() as conn:
        refs = [volume_ref(conn, volume) for volume in _all(conn, host.name, backend.name)[0]]
    target, updates = backend.replicated().failover_host(refs, run.args.target)
    if not all(update.get("volume_id") for update in updates):
        reason = "its driver returned an update that names no volume"
        raise errors.UnableToFailOver(backend=run.args.backend, reason=reason)
    for ref in refs:
        host.digests.discard(ref.id)
    return {"target": target, "updates": {each["volume_id"]: dict(each.get("updates") or {}) for each in updates}}


def _active(results: dict[str, Any], args: FailoverArgs) -> str:
    """The target that serves now; empty: the backend itself."""
    return "" if args.target == DEFAULT_TARGET else str(results["fail over"]["target"])


def _record(run: Run[FailoverArgs]) -> None:
    host = host_of(run)
    with host.database.write() as conn:
        volumes, _attachments = _all(conn, host.name, backend_of(run).name)
        repositories.volumes.hold_left(conn, [each.id for each in volumes])
        for volume in volumes:
            if update := run.results["fail over"]["updates"].get(volume.id):
                save_update(conn, volume, update)
    backend_of(run).replicated().set_active_backend(_active(run.results, run.args))


def _keep(run: Run[FailoverArgs]) -> None:
    """Stopped after the driver has done it: there is no way back but another failover, so it is recorded all the same."""
    if "fail over" in run.results:
        _record(run)
        with host_of(run).database.write() as conn:
            _end(conn, run.operation.resource_id, run.results, run.args)


def _succeed(conn: sa.Connection, operation: Operation, args: FailoverArgs) -> None:
    _end(conn, operation.resource_id, operation.results, args)


def _end(conn: sa.Connection, backend_id: str, results: dict[str, Any], args: FailoverArgs) -> None:
    active = _active(results, args)
    status = str(states.REPLICATION["fail over" if active else "fail back"].done)
    changes = _service_changes(repositories.backends.find(conn, backend_id), active)
    replication.move(conn, backend_id, _MOVING, status, active_backend_id=active, **changes)


def _service_changes(row: StorageBackend | None, active: str) -> dict[str, Any]:
    """A service that an administrator has disabled keeps the reason, and is still disabled after the way back."""
    if row and row.disabled and row.disabled_reason not in (REASON, FROZEN):
        return {}
    reason = REASON if active else FROZEN if row and row.frozen else None
    return {"disabled": reason is not None, "disabled_reason": reason}


def _fail(conn: sa.Connection, operation: Operation, args: FailoverArgs, error: errors.Error) -> None:
    """As before where nothing was changed: a wrong target, or cancelled before the driver was called."""
    if isinstance(error, errors.InvalidReplicationTarget) or "fence" not in operation.results:
        status = args.before
    elif isinstance(error, errors.UnableToFailOver):
        status = str(_RULE.failed)
    else:
        status = str(states.REPLICATION["fail"].done)
    replication.move(conn, operation.resource_id, _MOVING, status)


FAILOVER_BACKEND = OperationType(
    "backend.failover",
    FailoverArgs,
    (
        Step("check", _check),
        Step("fence", _fence, _export),
        Step("fail over", _fail_over, _keep),
        Step("record", _record),
        Step("export", _export),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=False,
)
