"""The outbox of notifications: written in the transaction of what they report, delivered later by their host.

A row is removed when its message was delivered, or when there are too many or it is too old; the second is counted, so
that the receiver can be notified of the loss.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from nbdsvc.model import clock
from nbdsvc.model.operation import Operation
from nbdsvc.store.notification_tables import audits, losses, notifications

_c = notifications.c


class Outbox(Protocol):
    """Writes notifications of operations, see nbdsvc/notifications. A Database without one has none to write."""

    def begun(self, conn: sa.Connection, operation: Operation) -> None:
        """Report a new operation, in its transaction."""

    def ending(self, conn: sa.Connection, id: str) -> AbstractContextManager[None]:
        """A block that may end the operation: if it has, its end is reported."""

    def changed(self, conn: sa.Connection, event: str, noun: str, id: str) -> AbstractContextManager[None]:
        """A block that changes a resource at once, without an operation."""


@contextmanager
def ending(outbox: Outbox | None, conn: sa.Connection, id: str) -> Iterator[None]:
    """Outbox.ending, where there is an outbox."""
    if outbox is None:
        yield
        return
    with outbox.ending(conn, id):
        yield


@contextmanager
def changed(outbox: Outbox | None, conn: sa.Connection, event: str, noun: str, id: str) -> Iterator[None]:
    """Outbox.changed, where there is an outbox."""
    if outbox is None:
        yield
        return
    with outbox.changed(conn, event, noun, id):
        yield


@dataclass(frozen=True)
class Undelivered:
    """A row of the outbox."""

    sequence: int
    message: dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """How many messages of a host were removed undelivered, and the times of the first and the last of them."""

    lost: int
    oldest: datetime
    newest: datetime


def add(conn: sa.Connection, host: str, message: dict[str, Any], most: int) -> None:
    """Add a message that `host` is to deliver, and remove the oldest ones beyond `most` of all hosts."""
    values = {"host": host, "message": message, "created_at": clock.now()}
    (newest,) = conn.execute(notifications.insert(), values).inserted_primary_key or (0,)
    _remove(conn, _c.sequence <= newest - most)


def waiting(conn: sa.Connection, host: str, limit: int) -> list[Undelivered]:
    """The oldest messages that the host is to deliver."""
    found = sa.select(_c.sequence, _c.message).where(_c.host == host).order_by(_c.sequence).limit(limit)
    return [Undelivered(*row) for row in conn.execute(found)]


def count(conn: sa.Connection) -> int:
    """The number of all messages that are not delivered."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(notifications)).scalar_one())


def delivered(conn: sa.Connection, sequences: Sequence[int]) -> None:
    """Remove messages that were delivered."""
    conn.execute(notifications.delete().where(_c.sequence.in_(sequences)))


def remove_older(conn: sa.Connection, host: str, moment: datetime) -> int:
    """Remove the host's messages from before the moment, and count them as lost; returns how many."""
    return _remove(conn, _c.host == host, _c.created_at < moment)


def refuse(conn: sa.Connection, sequences: Sequence[int]) -> None:
    """Remove messages that the receiver does not take, and count them as lost."""
    _remove(conn, _c.sequence.in_(sequences))


def adopt(conn: sa.Connection, lost_hosts: Sequence[str], host: str) -> None:
    """Let `host` deliver what lost hosts were to deliver."""
    conn.execute(notifications.update().where(_c.host.in_(lost_hosts)).values(host=host))


def loss_of(conn: sa.Connection, host: str) -> Loss | None:
    """What was lost of the host's messages and not reported yet."""
    columns = losses.c.lost, losses.c.oldest, losses.c.newest
    row = conn.execute(sa.select(*columns).where(losses.c.host == host)).one_or_none()
    return Loss(*row) if row and row.lost else None


def loss_reported(conn: sa.Connection, host: str, reported: Loss) -> None:
    """Forget a loss; what was lost meanwhile stays."""
    conn.execute(losses.update().where(losses.c.host == host).values(lost=losses.c.lost - reported.lost))
    conn.execute(losses.delete().where(losses.c.host == host, losses.c.lost <= 0))


def audited_until(conn: sa.Connection, host: str) -> datetime | None:
    """The end of the last period of which the host has reported the usage; None before the first."""
    return conn.execute(sa.select(audits.c.until).where(audits.c.host == host)).scalar()


def note_audit(conn: sa.Connection, host: str, until: datetime) -> None:
    """Set `audited_until`."""
    conn.execute(audits.delete().where(audits.c.host == host))
    conn.execute(audits.insert(), {"host": host, "until": until})


def _remove(conn: sa.Connection, *where: "sa.ColumnElement[bool]") -> int:
    """Remove messages and count them by host. Hosts in order, so that no two transactions wait for each other."""
    removed = conn.execute(notifications.delete().where(*where).returning(_c.host, _c.created_at)).all()
    for host in sorted({row.host for row in removed}):
        times = [row.created_at for row in removed if row.host == host]
        _count(conn, host, Loss(len(times), min(times), max(times)))
    return len(removed)


def _count(conn: sa.Connection, host: str, loss: Loss) -> None:
    # Only this database's dialect: PostgreSQL's modules need 2.5 MiB, which a service on SQLite does not have to hold.
    insert = importlib.import_module(f"sqlalchemy.dialects.{conn.dialect.name}").insert
    values = {"host": host, "lost": loss.lost, "oldest": loss.oldest, "newest": loss.newest}
    more = {"lost": losses.c.lost + loss.lost, "newest": loss.newest}
    conn.execute(insert(losses).values(values).on_conflict_do_update(index_elements=[losses.c.host], set_=more))
