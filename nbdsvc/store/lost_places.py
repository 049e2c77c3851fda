"""Second places of volumes (moves.py) on hosts that were declared lost: kept apart, so that the volumes may go on without
these hosts, and known again when one of them returns.

A row of `moves` would keep its volume from every further move.
"""

from dataclasses import fields

import sqlalchemy as sa

from nbdsvc.model.entities import Move
from nbdsvc.store import clusters, host_tables, hosts, repositories

_table = host_tables.lost_places
_c = _table.c
_names = [each.name for each in fields(Move)]
_of_host = (
    sa.select(*(_c[name] for name in _names)).where(_c.host == sa.bindparam("host")).order_by(_c.created_at, _c.id)
)


def remember(conn: sa.Connection, move: Move) -> None:
    """Take the place out of `moves`, and keep it until its host returns."""
    _forget(conn, move)
    conn.execute(_table.insert(), {name: getattr(move, name) for name in _names})
    repositories.moves.delete(conn, move.id)


def of_host(conn: sa.Connection, host: str) -> list[Move]:
    """The places on this host, oldest first."""
    return [Move(*row) for row in conn.execute(_of_host, {"host": host})]


def ids(conn: sa.Connection) -> set[str]:
    """The volumes that have such a place, or had one when they were deleted."""
    return set(conn.scalars(sa.select(_c.id)))


def bring_back(conn: sa.Connection, host: str) -> int:
    """Give the places on a host that has returned back to `moves`, whose maintenance removes what is there; how many. That of
    a volume that is moved now waits, and one at which the volume is by now is forgotten: also where another host of the
    cluster serves it from there. None of a host that is lost still.
    """
    return 0 if hosts.is_lost(conn, host) else sum(_bring_back(conn, place) for place in of_host(conn, host))


def _bring_back(conn: sa.Connection, place: Move) -> bool:
    volume = repositories.volumes.find(conn, place.id)
    is_needed = volume is None or not clusters.is_same_storage(conn, place.full_host, volume.full_host)
    if is_needed and repositories.moves.find(conn, place.id):
        return False
    _forget(conn, place)
    if is_needed:
        repositories.moves.insert(conn, place)
    return is_needed


def _forget(conn: sa.Connection, place: Move) -> None:
    same = [_c[name] == getattr(place, name) for name in ("id", "host", "backend", "pool")]
    conn.execute(_table.delete().where(*same))
