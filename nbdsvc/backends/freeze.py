"""Freeze a backend: what is on it is used as before, and nothing of it is made, changed or removed.

The row is all that counts, and it is set at once: `app.submit` and those who change rows alone look at it
(`store.backends.check_not_frozen`) in the transaction in which they are accepted. What was accepted before still runs to its
end. The driver is notified by an operation, on its own host, when that is up.
"""

from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.services import change, matching
from nbdsvc.host import backend_of
from nbdsvc.model.context import Context
from nbdsvc.model.entities import StorageBackend
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock
from nbdsvc.operations.operation_type import OperationType, Run, Step

log = structlog.get_logger(__name__)

# The reason that the service shows for being disabled, as in Cinder.
REASON = "frozen"


@dataclass(frozen=True)
class FreezeArgs:
    """Arguments of the operations `backend.freeze` and `backend.thaw`."""

    backend: str
    """host@backend."""


def freeze_backend(app: App, context: Context, host: str) -> None:
    """Freeze `host@backend`, or all backends of `host` that are not frozen.

    Raises InvalidInput for a host that there is not, or whose backends are frozen.
    """
    with app.change() as conn:
        for row in backends_of(conn, host, frozen=False, refusal="Host is already Frozen."):
            change(conn, row, frozen=True, **_disable(row))
            args = FreezeArgs(row.full_name)
            app.submit(conn, context, FREEZE_BACKEND, args, backend=row.full_name, resource=("backend", row.id))


def _disable(row: StorageBackend) -> dict[str, object]:
    """A service that is disabled keeps its reason, by which a thaw knows that it is not to be enabled."""
    return {} if row.disabled else {"disabled": True, "disabled_reason": REASON}


def backends_of(conn: sa.Connection, host: str, *, frozen: bool, refusal: str) -> list[StorageBackend]:
    """The backends of `host` that are frozen, or are not. InvalidInput where there is none: `refusal`, or no such host."""
    rows = matching(conn, host)
    found = [row for row in rows if row.frozen is frozen]
    if not found:
        reason = refusal if rows else "no storage host has this name"
        raise errors.InvalidInput(field="host", value=host[:80], reason=reason)
    return found


def lock_backend(args: FreezeArgs) -> list[Lock]:
    """One at a time of a backend."""
    return locks("backend.freeze", backend=args.backend)


def _notify(run: Run[FreezeArgs]) -> dict[str, bool]:
    """Notify the driver. That it fails is a warning: the backend is frozen all the same."""
    driver, done = backend_of(run).freezing(), True
    try:
        done = driver is None or driver.freeze_backend()
    except errors.Error as error:
        done = False
        log.warning("the driver failed at a freeze", backend=run.args.backend, reason=str(error))
    if not done:
        log.warning("the backend is frozen, and its driver is not", backend=run.args.backend)
    return {"done": done}


# The row was set when the freeze was requested: no end of the operation changes it.
FREEZE_BACKEND = OperationType("backend.freeze", FreezeArgs, (Step("notify", _notify),), lock_backend, modifies=False)
