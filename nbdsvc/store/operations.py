"""The journal's rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.store import operation_locks, tables
from nbdsvc.store.repository import Repository

_c = tables.operations.c
# SQLite takes 999 parameters in its older builds.
_IDS_AT_ONCE = 500
rows: Repository[Operation] = Repository(tables.operations, Operation, "Operation")
# The statements of each operation and each look of an engine, built once (store/repository.py).
_is_unfinished = _c.state.in_(sorted(model.UNFINISHED))
_in_order = sa.select(*(_c[name] for name in Operation.__dataclass_fields__)).order_by(_c.sequence)
_of_host = _in_order.where(
    sa.or_(_c.step_host == sa.bindparam("host"), _c.host == sa.bindparam("host")), _is_unfinished
)
_of_resource = _in_order.where(_c.resource_id == sa.bindparam("resource"), _is_unfinished)
# An API process of an older version, in a rolling upgrade, writes no step_host: the operation is at home.
_is_there = sa.or_(_c.step_host == sa.bindparam("_host"), sa.and_(_c.step_host == "", _c.host == sa.bindparam("_host")))
_on_host = tables.operations.update().where(_c.id == sa.bindparam("_id"), _is_there)
_resume = _on_host.where(_c.state == sa.bindparam("_state"), _c.cursor == sa.bindparam("_cursor"))
_begin = _resume.where(sa.not_(operation_locks.is_excluded()))
_take_back = _resume.where(sa.not_(_c.taken_up))
_states = sa.select(_c.id, _c.state).where(_c.id.in_(sa.bindparam("ids", expanding=True)))
_flags = sa.select(_c.cancel_requested, _c.rate).where(_c.id == sa.bindparam("id"))
_count_of_project = sa.select(sa.func.count()).where(
    _c.host == sa.bindparam("host"), _c.backend == sa.bindparam("backend"),
    _is_unfinished, _c.project_id == sa.bindparam("project"),
)  # fmt: skip


def insert(conn: sa.Connection, operation: Operation) -> None:
    """Write a new operation; the database gives it its sequence."""
    values = {name: getattr(operation, name) for name in Operation.__dataclass_fields__ if name != "sequence"}
    conn.execute(tables.operations.insert(), values)
    operation_locks.insert(conn, operation)


def unfinished(conn: sa.Connection, host: str) -> list[Operation]:
    """Unfinished operations that are on this host, and its own that are elsewhere, in order of submission."""
    return rows.run(conn, _of_host, host=host)


def all_unfinished(conn: sa.Connection) -> list[Operation]:
    """Unfinished operations of all hosts, in order of submission."""
    return rows.run(conn, _in_order.where(_is_unfinished))


def since(conn: sa.Connection, moment: datetime, sequence: int) -> list[Operation]:
    """Operations that were submitted after the one of this sequence, or ended after the moment."""
    return rows.run(conn, _in_order.where(sa.or_(_c.sequence > sequence, _c.finished_at > moment)))


def last_sequence(conn: sa.Connection) -> int:
    """The sequence of the newest operation; 0 without any."""
    return int(conn.execute(sa.select(sa.func.max(_c.sequence))).scalar() or 0)


def unfinished_of(conn: sa.Connection, resource_id: str) -> list[Operation]:
    """Unfinished operations of a resource, in order of submission."""
    return rows.run(conn, _of_resource, resource=resource_id)


def count_unfinished(conn: sa.Connection, host: str, backend: str, project_id: str) -> int:
    """The number of unfinished operations of a project on a backend."""
    found = conn.execute(_count_of_project, {"host": host, "backend": backend, "project": project_id})
    return int(found.scalar_one())


def check_unfinished(conn: sa.Connection, host: str, backend: str, project_id: str, limit: int) -> None:
    """QuotaExceeded where the project has `limit` operations or more that have not ended on this backend."""
    used = count_unfinished(conn, host, backend, project_id)
    if used >= limit:
        raise errors.QuotaExceeded(resource="operations", limit=limit, used=used, requested=1)


def states(conn: sa.Connection, ids: Sequence[str]) -> dict[str, bool]:
    """Whether each of these has ended; those that are not there are left out."""
    found: dict[str, bool] = {}
    for at in range(0, len(ids), _IDS_AT_ONCE):
        some = conn.execute(_states, {"ids": ids[at : at + _IDS_AT_ONCE]})
        found |= {id: state in model.FINISHED for id, state in some}
    return found


def update_on(conn: sa.Connection, host: str, id: str, /, **changes: Any) -> bool:
    """Change columns of an operation that is on that host now, which alone may do it; False where it is elsewhere."""
    return _changed(conn, _on_host, host, id, changes)


def begin(conn: sa.Connection, host: str, read: Operation, **changes: Any) -> bool:
    """`update_on`, of an operation that holds its locks from now on; False also where another one excludes it.

    read: as the caller read it; False where it has left that step since. State and cursor together never come back.
    """
    return _changed(conn, _begin, host, read.id, changes, _state=read.state, _cursor=read.cursor)


def resume(conn: sa.Connection, host: str, read: Operation, /, **changes: Any) -> bool:
    """`begin`, of an operation that holds its locks already."""
    return _changed(conn, _resume, host, read.id, changes, _state=read.state, _cursor=read.cursor)


def take_back(conn: sa.Connection, read: Operation, **changes: Any) -> bool:
    """Change columns of an operation that waits for the host where it is; False where that host has taken it up."""
    return _changed(conn, _take_back, read.step_host, read.id, changes, _state=read.state, _cursor=read.cursor)


def _changed(
    conn: sa.Connection, statement: sa.Update, host: str, id: str, changes: dict[str, Any], **where: Any
) -> bool:
    values = {"updated_at": clock.now(), **changes, "_id": id, "_host": host, **where}
    return conn.execute(statement, values).rowcount == 1


def control_flags(conn: sa.Connection, id: str) -> tuple[bool, int]:
    """Whether the operation is to be cancelled, and the bytes a second that it may copy (0: no limit)."""
    row = conn.execute(_flags, {"id": id}).one_or_none()
    return (row.cancel_requested, row.rate) if row else (False, 0)


def request_cancel(conn: sa.Connection, id: str) -> bool:
    """Ask for an end; False when it has ended already."""
    wanted = tables.operations.update().where(_c.id == id, _c.state.in_([model.PENDING, model.RUNNING]))
    return conn.execute(wanted.values(cancel_requested=True, updated_at=clock.now())).rowcount == 1


def go_on(conn: sa.Connection, id: str) -> bool:
    """Whether its cancel has not been requested; the row is locked until this transaction ends."""
    wanted = tables.operations.update().where(_c.id == id, _c.cancel_requested.is_(False))
    return conn.execute(wanted.values(updated_at=clock.now())).rowcount == 1


def request_rate(conn: sa.Connection, id: str, rate: int) -> bool:
    """Let it copy so many bytes a second (0: as fast as it can); False when it has ended already."""
    wanted = tables.operations.update().where(_c.id == id, _c.state.in_(sorted(model.UNFINISHED)))
    return conn.execute(wanted.values(rate=rate, updated_at=clock.now())).rowcount == 1


def purge(conn: sa.Connection, host: str, before: datetime) -> int:
    """Forget what this host ended before that time; returns how many."""
    old = tables.operations.delete().where(
        _c.host == host, _c.finished_at < before, _c.state.in_(sorted(model.FINISHED))
    )
    return conn.execute(old).rowcount


def purge_answers(conn: sa.Connection, host: str, types: Sequence[str], before: datetime) -> int:
    """Delete operations of these types that this host ended before that time; returns how many."""
    old = tables.operations.delete().where(
        _c.host == host, _c.kind.in_(list(types)), _c.finished_at < before, _c.state.in_(sorted(model.FINISHED))
    )
    return conn.execute(old).rowcount


def latest_for(conn: sa.Connection, resource_id: str) -> Operation | None:
    """The newest operation on a resource: where a client finds the reason of an error status."""
    newest = rows.query(_c.resource_id == resource_id).order_by(None).order_by(_c.sequence.desc()).limit(1)
    return next(iter(rows.run(conn, newest)), None)


def busy(conn: sa.Connection, resource_id: str) -> bool:
    """Whether an operation on the resource is unfinished."""
    return rows.count(conn, _c.resource_id == resource_id, _c.state.in_(sorted(model.UNFINISHED))) > 0
