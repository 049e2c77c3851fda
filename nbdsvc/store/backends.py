"""The rows of backends, with the statistics of their pools as last reported."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.driver import Capacity, PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import repositories, tables

# An empty name: the host's only backend.
_is_named = (
    tables.backends.c.host == sa.bindparam("host"),
    sa.or_(tables.backends.c.name == sa.bindparam("backend"), sa.bindparam("backend") == sa.literal("")),
)
_named = repositories.backends.query(*_is_named)
# Shared: those who change things on a backend do not wait for each other, but who freezes it waits for all of them.
_frozen = sa.select(tables.backends.c.frozen).where(*_is_named).with_for_update(read=True)
_b = tables.backends.c
_members = sa.select(_b.host, _b.name, _b.id, _b.cluster).order_by(_b.created_at)
_STATS = [tables.pools.c[each.name] for each in fields(PoolStats)]
_all_pools = sa.select(tables.pools.c.backend_id, *_STATS).order_by(tables.pools.c.name)
_all_measured = sa.select(tables.pools.c.backend_id, tables.pools.c.name, tables.pools.c.measured)
# Capacities that are no numbers, in columns of numbers.
_NUMBERS: dict[Capacity, int] = {"infinite": -1, "unknown": -2}
_WORDS = {number: word for word, number in _NUMBERS.items()}


def find(conn: sa.Connection, host: str) -> StorageBackend | None:
    """The backend of `host@backend#pool`; of a host alone, its first one."""
    name, backend, _pool = names.split_host(host)
    found = repositories.backends.run(conn, _named, host=name, backend=backend)
    return found[0] if found else None


class Member(NamedTuple):
    """A service as a volume of it shows it."""

    id: str
    cluster_name: str | None


def members(conn: sa.Connection) -> dict[tuple[str, str], Member]:
    """Each service by host and backend; by an empty name, a host's first one."""
    found: dict[tuple[str, str], Member] = {}
    for host, name, id, cluster in conn.execute(_members):
        member = Member(id, names.join_host(cluster, name) if cluster else None)
        found.setdefault((host, ""), member)
        found[host, name] = member
    return found


def check_not_frozen(conn: sa.Connection, host: str) -> None:
    """Frozen where the backend of `host@backend#pool` is; where it is not, it stays so until this transaction ends."""
    name, backend, _pool = names.split_host(host)
    if any(conn.execute(_frozen, {"host": name, "backend": backend}).scalars()):
        raise errors.Frozen(backend=names.join_host(name, backend))


def report(
    conn: sa.Connection,
    host: str,
    name: str,
    zone: str,
    pools: Sequence[PoolStats],
    measured: Mapping[str, int] | None = None,
    **changes: Any,
) -> StorageBackend:
    """Write what a backend says: a new row, or its own with `changes`; its pools are those that it names now.

    measured: by pool, the bytes that rows promise and the report has measured; None: not known.
    """
    found = find(conn, names.join_host(host, name))
    if found:
        repositories.backends.update(conn, found.id, availability_zone=zone, **changes)
    else:
        row = StorageBackend(names.new_id(), host, name, availability_zone=zone, updated_at=clock.now(), **changes)
        found = repositories.backends.insert(conn, row)
    conn.execute(tables.pools.delete().where(tables.pools.c.backend_id == found.id))
    if pools:
        counted = {pool.name: None if measured is None else measured.get(pool.name, 0) for pool in pools}
        made = [{"backend_id": found.id, **_row(pool), "measured": counted[pool.name]} for pool in pools]
        conn.execute(tables.pools.insert(), made)
    return found


def pools(conn: sa.Connection, backend_id: str) -> list[PoolStats]:
    """The pools of a backend as it last reported them, by name."""
    return all_pools(conn).get(backend_id, [])


def all_pools(conn: sa.Connection) -> dict[str, list[PoolStats]]:
    """The pools of all backends, by the backend's id."""
    found: dict[str, list[PoolStats]] = defaultdict(list)
    for backend_id, *stats in conn.execute(_all_pools).all():
        found[backend_id].append(_stats(PoolStats(*stats)))
    return found


def all_measured(conn: sa.Connection) -> dict[tuple[str, str], int | None]:
    """The bytes that rows promise and the report of each pool (id of the backend, name) has measured; None: not known."""
    return {(backend_id, name): measured for backend_id, name, measured in conn.execute(_all_measured)}


def _row(pool: PoolStats) -> dict[str, Any]:
    return {**asdict(pool), **{name: _NUMBERS.get(size, size) for name, size in _sizes(pool)}}


def _stats(row: PoolStats) -> PoolStats:
    if row.total not in _WORDS and row.free not in _WORDS:
        return row  # nearly all: a decision looks at every pool
    words: dict[str, Any] = {name: _WORDS[size] for name, size in _sizes(row) if size in _WORDS}
    return replace(row, **words)


def _sizes(pool: PoolStats) -> list[tuple[str, Any]]:
    return [("total", pool.total), ("free", pool.free)]
