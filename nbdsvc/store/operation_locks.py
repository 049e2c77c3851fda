"""The locks of unfinished operations as rows: they hold over processes and hosts, without leases.

An operation may begin while no other one that conflicts with it is at work, and none that was submitted earlier waits.
A waiting one that is to be cancelled holds nothing: nothing of it was begun, and nothing will be.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc.model import operation as model
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.store import tables

_c = tables.operation_locks.c
_o = tables.operations.c


@dataclass(frozen=True)
class Claimed:
    """An unfinished operation with the locks that it holds, or waits for. sequence: its place in the order of submission."""

    id: str
    sequence: int
    working: bool
    locks: tuple[Lock, ...]


def insert(conn: sa.Connection, operation: Operation) -> None:
    """Write the locks of a new operation. Of a name that it wants twice, the exclusive lock counts."""
    shared: dict[str, bool] = {}
    for lock in operation.lock_set():
        shared[lock.name] = lock.shared and shared.get(lock.name, True)
    if shared:
        rows = [{"operation_id": operation.id, "name": name, "shared": each} for name, each in shared.items()]
        conn.execute(tables.operation_locks.insert(), rows)


def forget(conn: sa.Connection, id: str) -> None:
    """Remove the locks of an operation that ends, or of which nothing is to be begun."""
    conn.execute(_forget, {"_id": id})


def claimed(conn: sa.Connection) -> list[Claimed]:
    """Every unfinished operation of every host that holds locks or waits for them, in the order of submission."""
    found: dict[str, Claimed] = {}
    for id, sequence, state, name, shared in conn.execute(_claimed):
        before = found.get(id) or Claimed(id, sequence, state != model.PENDING, ())
        found[id] = Claimed(id, sequence, before.working, (*before.locks, Lock(name, shared)))
    return list(found.values())


def _is_working(operations: "sa.FromClause") -> "sa.ColumnElement[bool]":
    return operations.c.state.in_((model.RUNNING, model.UNDOING))


def _is_waiting(operations: "sa.FromClause") -> "sa.ColumnElement[bool]":
    """Not begun, and to begin: one that is to be cancelled will not."""
    return sa.and_(operations.c.state == model.PENDING, sa.not_(operations.c.cancel_requested))


def is_excluded() -> "sa.ColumnElement[bool]":
    """A condition on rows of `operations`: another one that conflicts is at work, or waits and was submitted earlier."""
    mine, other = tables.operation_locks.alias("mine"), tables.operation_locks.alias("other")
    holder = tables.operations.alias("holder")
    earlier = sa.and_(_is_waiting(holder), holder.c.sequence < _o.sequence)
    conflict = (
        sa.select(sa.literal(1))
        .select_from(
            mine.join(other, sa.and_(other.c.name == mine.c.name, other.c.operation_id != mine.c.operation_id)).join(
                holder, holder.c.id == other.c.operation_id
            )
        )
        .where(mine.c.operation_id == _o.id, sa.not_(sa.and_(mine.c.shared, other.c.shared)))
        .where(sa.or_(_is_working(holder), earlier))
    )
    return sa.exists(conflict.correlate(tables.operations))


_forget = tables.operation_locks.delete().where(_c.operation_id == sa.bindparam("_id"))
_claimed = (
    sa.select(_o.id, _o.sequence, _o.state, _c.name, _c.shared)
    .join(tables.operation_locks, _c.operation_id == _o.id)
    .where(sa.or_(_is_working(tables.operations), _is_waiting(tables.operations)))
    .order_by(_o.sequence)
)
