"""Bytes that rows promise to volumes: newer than any report of a pool, and so the measure of what may still be promised.

A report of a pool has measured some of these volumes and others not. Which, only rows that rested say: those in `settled`
before and after the measuring, with the same size. What a pool promised since its report is the rest; the sum of all that
the pool measured would not do, because there are snapshots and foreign objects in it, behind which new volumes would hide.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from nbdsvc.model import names
from nbdsvc.store import clusters, tables
from nbdsvc.units import GiB

_c = tables.volumes.c
_moves = tables.moves.c
_size = sa.func.coalesce(_c.target_size, _c.size).label("size")


def _sums(table: sa.Table, size: sa.ColumnElement[int]) -> sa.Select[Any]:
    key = (table.c.host, table.c.backend, table.c.pool)
    return sa.select(*key, sa.func.sum(size)).group_by(*key)


# A volume that is being moved counts at both of its places. Each table is summed by itself, by its index: to sum their union,
# SQLite sorts all rows anew, which takes five times as long.
_by_pool = sa.union_all(_sums(tables.volumes, _size), _sums(tables.moves, _moves.size))
_promises = sa.union_all(
    sa.select(_c.host, _c.backend, _c.pool, _size), sa.select(_moves.host, _moves.backend, _moves.pool, _moves.size)
).subquery()
_of_pool = sa.select(sa.func.sum(_promises.c.size)).where(
    _promises.c.host.in_(sa.bindparam("hosts", expanding=True)),
    *(_promises.c[name] == sa.bindparam(name) for name in ("backend", "pool")),
)
# Whether their object is there, or how large it is, may change at any moment.
_MOVING = ("creating", "downloading", "managing", "unmanaging", "extending", "deleting")
_settled = sa.select(_c.id, _c.pool, _c.size).where(
    _c.host.in_(sa.bindparam("hosts", expanding=True)), _c.backend == sa.bindparam("backend"), _c.status.not_in(_MOVING),
    sa.not_(sa.exists().where(_moves.id == _c.id)),
)  # fmt: skip

Settled = frozenset[tuple[str, str, int]]
"""id, pool and size in GiB of each volume of a backend that no operation makes, resizes, moves or removes."""


def by_pool(conn: sa.Connection) -> dict[tuple[str, str, str], int]:
    """Bytes promised to the volumes of each pool: host, backend, pool. Of one that several hosts see, by this host alone."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for host, backend, pool, total in conn.execute(_by_pool).all():
        found[host, backend, pool] += int(total or 0) * GiB
    return found


def of_pool(conn: sa.Connection, host: str) -> int:
    """Bytes promised to the volumes of the pool host@backend#pool, by all hosts that see it."""
    name, backend, pool = names.split_host(host)
    there = {"hosts": clusters.hosts_of(conn, name, backend), "backend": backend, "pool": pool}
    total = conn.execute(_of_pool, there).scalar()
    return int(total or 0) * GiB


def settled(conn: sa.Connection, host: str, backend: str) -> Settled:
    """The volumes of a backend that rest now, those of other hosts that see its storage too."""
    there = {"hosts": clusters.hosts_of(conn, host, backend), "backend": backend}
    return frozenset(tuple(row) for row in conn.execute(_settled, there))


def measured(before: Settled, after: Settled) -> Mapping[str, int]:
    """Bytes of the volumes of each pool that a report made between these two has measured for certain."""
    found: dict[str, int] = defaultdict(int)
    for _id, pool, size in before & after:
        found[pool] += size * GiB
    return found
