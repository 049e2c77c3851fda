"""Free what no backup needs, in all spaces of the store (ours; for what killed writers and absent stores have left)."""

from dataclasses import asdict, dataclass
from typing import Any

from nbdsvc import errors
from nbdsvc.app import App, Waiting
from nbdsvc.backup_store.collection import Collected, collect
from nbdsvc.backups import places, sessions
from nbdsvc.host import Host, host_of
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import operations as journal

_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")


@dataclass(frozen=True)
class CollectArgs:
    """Arguments of the operation `backup.collect`."""

    end_sessions: tuple[str, ...] = ()
    """Backups that are not being written any more, wherever they were."""


def collect_backups(app: App, context: Context, end_sessions: tuple[str, ...] = ()) -> Waiting[dict[str, Any]]:
    """Start a sweep, and wait for what it did: chunks and bytes that were freed, chunks that were moved back, sessions that
    have to end before the rest can go, and the faults of single projects.

    Raises BackendUnavailable; TimedOut where it goes on.
    """
    with app.change() as conn:
        where = places.place_of(app, conn)
        resource = ("host", names.host_id(names.split_host(where)[0]))
        args = CollectArgs(end_sessions)
        made = app.submit(conn, context, COLLECT_BACKUPS, args, backend=where, resource=resource)
    return Waiting((made.id,), app.settings.attach_timeout, lambda: _result(app, made.id))


def collect_now_and_then(app: App, host: Host) -> bool:
    """Submit a sweep of this host's store, unless one is under way here, or the host never used a store; whether it did.

    Each host sweeps for itself: only it knows which store it has, and sweeps of one store disturb neither each other nor
    backups. A failure is in the operation, and the next sweep tries again.
    """
    if not host.vault.store.is_known():
        return False
    with app.change() as conn:
        busy = [each.host for each in journal.all_unfinished(conn) if each.kind == COLLECT_BACKUPS.name]
        if host.name in busy:
            return False
        where, resource = names.join_host(host.name, next(iter(host.backends))), ("host", names.host_id(host.name))
        app.submit(conn, _CONTEXT, COLLECT_BACKUPS, CollectArgs(), backend=where, resource=resource, bounded=False)
    return True


def _result(app: App, operation_id: str) -> dict[str, Any]:
    with app.database.read() as conn:
        found: dict[str, Any] = journal.rows.get(conn, operation_id).results["collect"]
    return found


def _collect(run: Run[CollectArgs]) -> dict[str, Any]:
    """One project's damage does not keep others' space."""
    total, faults = Collected(), []
    for space in host_of(run).vault.spaces():
        run.raise_if_stopped()
        sessions.end_stale(run, space, run.args.end_sessions)
        try:
            total.add(collect(space, sweeper=sessions.sweeper_of(run, run.args.end_sessions)))
        except errors.BackupDamaged as error:
            faults.append(str(error))
    return {**asdict(total), "waiting": list(total.waiting), "faults": faults}


COLLECT_BACKUPS = OperationType(
    "backup.collect", CollectArgs, (Step("collect", _collect, copies=always),), modifies=False, ephemeral=True
)
