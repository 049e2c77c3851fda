"""List what a pool holds and what of it may be managed. Only the pool's host can look, so this is an operation."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from nbdsvc.app import App, Waiting
from nbdsvc.backends import placement
from nbdsvc.backends.find_pool import find_in_cluster, find_pools
from nbdsvc.host import backend_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

Noun = Literal["volume", "snapshot"]


@dataclass(frozen=True)
class ListManageableArgs:
    """Arguments of the operation `host.list_manageable`."""

    noun: Noun
    pool: str = ""
    """Of the backend; empty: all."""


def list_manageable(
    app: App, context: Context, host: str, noun: Noun, *, in_cluster: bool = False
) -> Waiting[list[dict[str, Any]]]:
    """Start listing the objects of the pool or backend `host`, and wait for those: {reference, size (bytes), pool, reason,
    id, source} of each. in_cluster: `host` is the name of a cluster's pool or backend.

    `id` only of what has a row; `pool` only where several are listed. Raises InvalidInput, BackendUnavailable, Unsupported.
    """
    with app.change() as conn:
        pool = find_pools(app, conn, find_in_cluster(app, conn, host) if in_cluster else host)
        placement.require(conn, pool, "ManageDriver" if noun == "volume" else "ManageSnapshotDriver")
        name, _backend, only = names.split_host(pool)
        resource, args = ("host", names.host_id(name)), ListManageableArgs(noun, only)
        started = app.submit(conn, context, LIST_MANAGEABLE, args, backend=pool, resource=resource)
    return Waiting((started.id,), app.settings.attach_timeout, lambda: _result(app, started.id, noun))


def _result(app: App, operation_id: str, noun: Noun) -> list[dict[str, Any]]:
    rows: Any = repositories.volumes if noun == "volume" else repositories.snapshots
    with app.database.read() as conn:
        found: list[dict[str, Any]] = journal.rows.get(conn, operation_id).results["list"]
        return [{**each, "id": each["id"] if each["id"] and rows.find(conn, each["id"]) else None} for each in found]


def _list(run: Run[ListManageableArgs]) -> list[dict[str, Any]]:
    backend, pool = backend_of(run), run.args.pool or None
    found = (
        backend.manages().get_manageable_volumes(pool)
        if run.args.noun == "volume"
        else backend.manages_snapshots().get_manageable_snapshots(pool)
    )
    return [asdict(each) | {"pool": "" if pool else each.pool} for each in found]


LIST_MANAGEABLE = OperationType(
    "host.list_manageable",
    ListManageableArgs,
    (Step("list", _list),),
    modifies=False,
    ephemeral=True,
)
