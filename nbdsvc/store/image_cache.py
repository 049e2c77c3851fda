"""The rows of the image cache. Each belongs to a volume of the project names.IMAGE_CACHE, which has the image's bytes: its
place, size and status are in the volume's row, and its capacity counts as that of any volume.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Lock
from nbdsvc.store import host_tables, repositories, tables

_table, _c = host_tables.image_cache, host_tables.image_cache.c
_locks, _held = tables.operation_locks, tables.operation_locks.c
_all = sa.select(_c.id, _c.key, _c.image, _c.last_used, _c.uses).order_by(_c.last_used, _c.id)
_of_key = _all.where(_c.key == sa.bindparam("key"))
_volume = tables.volumes.c
_volumes = repositories.volumes.query(_volume.id.in_(sa.bindparam("ids", expanding=True)))
# Every creation of a volume asks: not by the entries, because there are nearly always none that go, and without the pool,
# by whose index SQLite would read all volumes of it.
_going = sa.select(_volume.id, _volume.host, _volume.backend, _volume.pool).where(
    _volume.project_id == names.IMAGE_CACHE, _volume.status == "deleting"
)
_of_id = _all.where(_c.id == sa.bindparam("id"))


@dataclass(frozen=True)
class Entry:
    """A cached image. key: of its version (images/version.py); image: the id, path or URL of it, for people."""

    volume: Volume
    key: str
    image: str
    last_used: datetime
    uses: int


def listed(conn: sa.Connection) -> list[Entry]:
    """Every entry, the one that was not used for the longest time first."""
    return _entries(conn, _all)


def in_pool(conn: sa.Connection, full_host: str) -> list[Entry]:
    """The entries in host@backend#pool, in that order."""
    return [each for each in listed(conn) if each.volume.full_host == full_host]


def of_key(conn: sa.Connection, key: str, full_host: str) -> list[Entry]:
    """The entries of this version of an image in host@backend#pool."""
    return [each for each in _entries(conn, _of_key, key=key) if each.volume.full_host == full_host]


def going(conn: sa.Connection, full_host: str) -> tuple[str, ...]:
    """The ids of the entries in host@backend#pool that are being deleted."""
    place = names.split_host(full_host)
    return tuple(id for id, *there in conn.execute(_going) if tuple(there) == place)


def find(conn: sa.Connection, id: str) -> Entry | None:
    """The entry of this volume."""
    return next(iter(_entries(conn, _of_id, id=id)), None)


def _entries(
    conn: sa.Connection, query: "sa.Select[tuple[str, str, str, datetime, int]]", **values: str
) -> list[Entry]:
    found = conn.execute(query, values).all()
    if not found:
        return []
    volumes = {row.id: row for row in repositories.volumes.run(conn, _volumes, ids=[row.id for row in found])}
    return [Entry(volumes[row.id], row.key, row.image, row.last_used, row.uses) for row in found if row.id in volumes]


def insert(conn: sa.Connection, entry: Entry) -> None:
    """Write the row of a new entry, and that of its volume."""
    repositories.volumes.insert(conn, entry.volume)
    values = {"key": entry.key, "image": entry.image, "last_used": entry.last_used, "uses": entry.uses}
    conn.execute(_table.insert(), {"id": entry.volume.id, **values})


def remove(conn: sa.Connection, volume_id: str) -> None:
    """Forget the entry of a volume that is gone; nothing for other volumes."""
    conn.execute(_table.delete().where(_c.id == volume_id))


def use(conn: sa.Connection, id: str, operation_id: str) -> bool:
    """Let a running operation clone this entry: its deletion waits until the operation ends. False where it is being deleted.

    In one transaction with the look at its status. So no deletion was submitted before, and each later one finds the lock.
    """
    try:
        if repositories.volumes.get_for_share(conn, id).status != "available":
            return False
    except errors.NotFound:
        return False
    values = {"last_used": clock.now(), "uses": _c.uses + 1}
    conn.execute(_table.update().where(_c.id == id).values(**values))
    lock = Lock(names.delete_volume_lock(id), shared=True)
    conn.execute(_locks.insert(), {"operation_id": operation_id, "name": lock.name, "shared": lock.shared})
    return True


def used_by(conn: sa.Connection, operation_id: str) -> str | None:
    """The volume of the entry that `use` gave to this operation; None for none."""
    is_lock = _held.name == _c.id + names.delete_volume_lock("")
    found = sa.select(_c.id).select_from(_table.join(_locks, is_lock))
    id: str | None = conn.execute(found.where(_held.operation_id == operation_id, _held.shared)).scalar()
    return id
