"""A host that never returns, as an administrator declares: what is unfinished there ends, and nothing waits for it any more.

The declaration is one transaction, after which a process of that host that is not dead after all writes nothing. What
follows from it goes by the rows of hosts, so that any process does it, again after a crash, and also for what is submitted
later: operations at the host end (operations/lost_host.py), attachments of its volumes end, second places of moved volumes
there are set aside until it returns (store/lost_places.py). What is on storage that another host of its cluster sees waits
until that one takes it over (take_over.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.attachments.delete import submit_delete
from nbdsvc.backends import placement
from nbdsvc.backends.services import change, matching
from nbdsvc.model import states
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.model.entities import Attachment, Move, StorageBackend
from nbdsvc.operations.lost_host import settle
from nbdsvc.store import backends, claims, clusters, hosts, lost_places, moves, repositories, tables
from nbdsvc.store import operations as journal

log = structlog.get_logger(__name__)

REASON = "lost"
_CONTEXT = Context("nbdsvc", "nbdsvc", frozenset({ADMIN}), "")
_REMEDY = "Stop it, or wait until it has been silent for {limit:.0f} s"


@dataclass(frozen=True)
class LostReport:
    """What there was of a host when it was declared lost."""

    volumes: int
    attachments: int
    operations: int


def declare_lost(app: App, host: str, *, fenced: bool) -> LostReport:
    """The host never returns, and cannot write to any volume: its power is off, or its storage is.

    Raises InvalidInput without that word, NotFound for a host that there is not, Conflict for one that reports.
    """
    if not fenced:
        reason = "the host must not be able to write to a volume any more: switch it off, then say so"
        raise errors.InvalidInput(field="fenced", value=fenced, reason=reason)
    with app.database.read() as conn:
        _check_silent(app, conn, host)
    holder = claims.silent_holder(app.database, host)
    with app.change() as conn:
        rows = _check_silent(app, conn, host)
        claims.forget_silent(conn, host, holder)
        hosts.declare_lost(conn, host)
        for row in rows:
            change(conn, row, disabled=True, disabled_reason=REASON)
        report = _report(conn, host)
    log.warning("a host was declared lost", host=host, volumes=report.volumes, operations=report.operations)
    settle_lost(app)
    return report


def let_return(app: App, host: str) -> None:
    """The next machine that starts under the name of a lost host is this host; its services stay disabled. What moves left
    there is known again, before anything can use it.

    Raises NotFound for a host that there is not, InvalidState for one that is not lost.
    """
    with app.change() as conn:
        hold(app, conn, host)
        if not matching(conn, host):
            raise errors.NotFound(resource="Host", id=host)
        if not hosts.let_return(conn, host):
            raise errors.InvalidState(resource="Host", id=host, action="return", status="not lost", allowed=["lost"])
        lost_places.bring_back(conn, host)
        clusters.forget_take_overs(conn, host)


def hold(app: App, conn: sa.Connection, host: str) -> None:
    """Until this transaction ends, the host neither returns nor is taken over by another transaction."""
    app.database.lock_name(conn, f"lost host {host}")


def _check_silent(app: App, conn: sa.Connection, host: str) -> list[StorageBackend]:
    rows = [row for row in matching(conn, host) if row.host == host]
    if not rows:
        raise errors.NotFound(resource="Host", id=host)
    for row in rows:
        if not placement.is_late(app, row):
            age, limit = placement.age(app, row), placement.late_after(app)
            reason = f"host {host} is not lost: {row.full_name} reported {age:.0f} s ago. {_REMEDY.format(limit=limit)}"
            raise errors.Conflict(reason=reason)
    return rows


def _report(conn: sa.Connection, host: str) -> LostReport:
    operations = [each for each in journal.unfinished(conn, host) if host in (each.step_host, each.host)]
    return LostReport(
        repositories.volumes.count(conn, tables.volumes.c.host == host), len(_attachments(conn, host)), len(operations)
    )


def settle_lost(app: App) -> int:
    """Do what follows from the loss of each lost host, as far as it is not done; how much was to do."""
    with app.database.read() as conn:
        lost = hosts.lost(conn)
    return sum(_settle(app, host) for host in lost)


def _settle(app: App, host: str) -> int:
    count = settle(app.database, host, app.types)
    with app.database.read() as conn:
        attachments, left = _attachments(conn, host), _left(conn, host)
    ended = sum(_end_attachment(app, host, each) for each in attachments)
    count += settle(app.database, host, app.types) if ended else 0
    return count + sum(_set_aside(app, host, each) for each in left)


def _attachments(conn: sa.Connection, host: str) -> list[Attachment]:
    there = sa.select(tables.volumes.c.id).where(
        tables.volumes.c.host == host, tables.volumes.c.backend.not_in(_shared(conn, host))
    )
    ends = states.ATTACHMENT["delete"].sources - {"detaching"}
    return repositories.attachments.select(
        conn, tables.attachments.c.volume_id.in_(there), tables.attachments.c.status.in_(sorted(ends))
    )


def _shared(conn: sa.Connection, host: str) -> list[str]:
    """The backends whose volumes another host takes over, or has: their names in rows."""
    rows = repositories.backends.select(conn, tables.backends.c.host == host)
    return [
        name
        for row in rows
        for name in backends.names_in_rows(conn, host, row.name)
        if clusters.heir(conn, host, row.name) or clusters.awaits_take_over(conn, host, row.name)
    ]


def _end_attachment(app: App, host: str, seen: Attachment) -> bool:
    """By an operation that is at the lost host, and which `settle` ends."""

    def end(conn: sa.Connection) -> bool:
        volume = repositories.volumes.find(conn, seen.volume_id)
        row = repositories.attachments.find(conn, seen.id)
        if volume is None or volume.host != host or row is None or row.status != seen.status:
            return False
        submit_delete(app, conn, _CONTEXT, volume, seen.id)
        return True

    return _while_lost(app, host, end)


def _left(conn: sa.Connection, host: str) -> list[Move]:
    """Places of moves that have ended."""
    here = tables.moves.c
    return repositories.moves.select(conn, here.host == host, here.backend.not_in(_shared(conn, host)))


def _set_aside(app: App, host: str, seen: Move) -> bool:
    def set_aside(conn: sa.Connection) -> bool:
        move = repositories.moves.find(conn, seen.id)
        if move is None or move.host != host or journal.busy(conn, move.id):
            return False
        moves.change_status(conn, move.id, "finish")
        lost_places.remember(conn, move)
        return True

    return _while_lost(app, host, set_aside)


def _while_lost(app: App, host: str, do: Callable[[sa.Connection], bool]) -> bool:
    """False also where the host has been allowed to return."""
    with app.change() as conn:
        return hosts.is_lost(conn, host) and do(conn)
