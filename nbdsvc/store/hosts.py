"""Hosts by name: which machine each one is, by the identity in its state folder, and which were declared lost."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from nbdsvc.model import clock
from nbdsvc.store import host_tables

_table = host_tables.hosts
_c = _table.c
_one = sa.select(_c.identity, _c.lost_at).where(_c.name == sa.bindparam("host"))
_held = sa.select(_c.lost_at).where(_c.name == sa.bindparam("host")).with_for_update(read=True)
_lost = sa.select(_c.name).where(_c.lost_at.is_not(None)).order_by(_c.name)
_missing = sa.select(_c.name).where(_c.lost_at.is_not(None) | (_c.identity == "")).order_by(_c.name)


@dataclass(frozen=True)
class KnownHost:
    """A host that has served volumes. identity: empty where the next machine to start is to be it. lost_at: by whose word."""

    identity: str
    lost_at: datetime | None


def find(conn: sa.Connection, host: str) -> KnownHost | None:
    """None for one that never started, or not since an older version."""
    row = conn.execute(_one, {"host": host}).one_or_none()
    return KnownHost(row.identity, row.lost_at) if row else None


def lost(conn: sa.Connection) -> list[str]:
    """The hosts that were declared lost, by name."""
    return list(conn.scalars(_lost))


def is_lost(conn: sa.Connection, host: str) -> bool:
    """Whether the host was declared lost."""
    found = find(conn, host)
    return found is not None and found.lost_at is not None


def is_lost_or_held(conn: sa.Connection, host: str) -> bool:
    """As is_lost; a host that is not lost is not declared so before this transaction ends, either."""
    return conn.execute(_held, {"host": host}).scalar_one_or_none() is not None


def is_missing(conn: sa.Connection, host: str) -> bool:
    """Whether the host was declared lost, and no machine has started under its name since."""
    found = find(conn, host)
    return found is not None and (found.lost_at is not None or not found.identity)


def missing(conn: sa.Connection) -> list[str]:
    """The hosts of which `is_missing` is true, by name."""
    return list(conn.scalars(_missing))


def identify(conn: sa.Connection, host: str, identity: str) -> None:
    """The host is this machine from now on."""
    _write(conn, host, identity=identity)


def declare_lost(conn: sa.Connection, host: str) -> None:
    """The host is lost from now on. Once more, and it is lost since the first time."""
    if not is_lost(conn, host):
        _write(conn, host, lost_at=clock.now())


def let_return(conn: sa.Connection, host: str) -> bool:
    """The next machine to start under this name is the host; False where it was not lost."""
    was_lost = is_lost(conn, host)
    if was_lost:
        _write(conn, host, identity="", lost_at=None)
    return was_lost


def _write(conn: sa.Connection, host: str, **values: object) -> None:
    if not conn.execute(_table.update().where(_c.name == host).values(**values)).rowcount:
        conn.execute(_table.insert().values(**{"name": host, "identity": "", **values}))
