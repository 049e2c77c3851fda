"""Thaw a backend: its driver returns it to normal, then requests may change what is on it.

It takes new volumes again if it did so before the freeze.

A driver that fails is an error of the request, and the backend stays frozen: Cinder replies 202 with the reason as its body.
"""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, Waiting
from nbdsvc.backends.freeze import REASON, FreezeArgs, backends_of, lock_backend
from nbdsvc.backends.services import change
from nbdsvc.host import backend_of
from nbdsvc.model.context import Context
from nbdsvc.model.entities import StorageBackend
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import repositories

# The text of Cinder's reply.
_FAILED = "Backend reported error during thaw_host operation."


def thaw_backend(app: App, context: Context, host: str) -> Waiting[None]:
    """Start thawing `host@backend`, or all frozen backends of `host`, and wait for that.

    Raises InvalidInput for a host that there is not, or of which no backend is frozen; by the operation: BackendUnavailable
    where the driver fails.
    """
    with app.change() as conn:
        frozen = backends_of(conn, host, frozen=True, refusal="Host is NOT Frozen.")
        submitted = [_submit(app, conn, context, row) for row in frozen]
    return Waiting(tuple(submitted), app.settings.attach_timeout, lambda: None)


def _submit(app: App, conn: sa.Connection, context: Context, row: StorageBackend) -> str:
    args, resource = FreezeArgs(row.full_name), ("backend", row.id)
    return app.submit(conn, context, THAW_BACKEND, args, backend=row.full_name, resource=resource).id


def _notify(run: Run[FreezeArgs]) -> None:
    driver = backend_of(run).freezing()
    try:
        thawed = driver is None or driver.thaw_backend()
    except errors.Error as error:
        raise errors.BackendUnavailable(backend=run.args.backend, reason=f"{_FAILED} {error}") from error
    if not thawed:
        raise errors.BackendUnavailable(backend=run.args.backend, reason=_FAILED)


def _succeed(conn: sa.Connection, operation: Operation, _args: FreezeArgs) -> None:
    row = repositories.backends.find(conn, operation.resource_id)
    if row:
        change(conn, row, frozen=False, **_enable(row))


def _enable(row: StorageBackend) -> dict[str, object]:
    """Only what the freeze itself has disabled: a service that was disabled by hand or failed over stays so."""
    return {"disabled": False, "disabled_reason": None} if row.disabled_reason == REASON else {}


# After a failure it stays frozen, and the request that waits gets the error.
THAW_BACKEND = OperationType(
    "backend.thaw", FreezeArgs, (Step("notify", _notify),), lock_backend, _succeed, modifies=False
)
