"""Sessions and sweeps in the store of backups that have ended without the store: they would keep what is in the trash."""

from collections.abc import Collection

import sqlalchemy as sa
import structlog

from nbdsvc.backup_store.collection import Sweeper
from nbdsvc.backup_store.space import Space
from nbdsvc.host import host_of
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)


def end_stale(run: Run[object], space: Space, named: Collection[str] = ()) -> int:
    """End the sessions of backups whose rows say that nothing writes them any more; how many.

    Those without a row may be another installation's, and stay; `named`: an administrator knows that they have ended.
    """
    ended = 0
    for backup_id in space.sessions():
        if backup_id in named or _has_ended(run, backup_id):
            log.warning("ending the session of a backup that is not being written", backup=backup_id)
            space.end_session(backup_id)
            ended += 1
    return ended


def _has_ended(run: Run[object], backup_id: str) -> bool:
    with host_of(run).database.read() as conn:
        row = repositories.backups.find(conn, backup_id)
        return row is not None and row.status != "creating" and not _busy(run, conn, backup_id)


def _busy(run: Run[object], conn: sa.Connection, backup_id: str) -> bool:
    """Whether another operation than this one works on the backup."""
    return any(each.id != run.id for each in journal.unfinished_of(conn, backup_id))


def sweeper_of(run: Run[object], named: Collection[str] = ()) -> Sweeper:
    """The sweeps of this operation, called by this host and the operation. `named`: an administrator knows that these sweeps
    have ended.
    """
    user = host_of(run).vault.user

    def has_ended(id: str) -> bool:
        owner, _, operation = id.partition("_")
        if id in named or operation == run.id:  # what it did before it was killed
            return True
        with host_of(run).database.read() as conn:
            ended = journal.states(conn, [operation]).get(operation)
        # An own one without a row ended long ago, and was forgotten; another one may be of another installation.
        return owner == user if ended is None else ended

    return Sweeper(f"{user}_{run.id}", has_ended)
