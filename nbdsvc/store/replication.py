"""What rows say of replication: of a volume's replica as its driver says it, of a whole backend by states.REPLICATION."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import states
from nbdsvc.store import tables

_MOVES = states.moves(states.REPLICATION)


def save(conn: sa.Connection, volume_id: str, seen: str | None, columns: dict[str, Any]) -> bool:
    """Write what a driver said of a volume. False where its replication status is not `seen` any more: that is newer."""
    if not columns:
        return True
    volume = tables.volumes.c
    where = (volume.id == volume_id, volume.replication_status.is_not_distinct_from(seen))
    return conn.execute(tables.volumes.update().where(*where).values(**columns)).rowcount == 1


def move(conn: sa.Connection, backend_id: str, sources: frozenset[str], target: str, **changes: Any) -> bool:
    """Compare-and-swap of a backend's status; False where it is none of `sources`. InternalError for a move that the table
    does not have. The time of the backend's last report stays.
    """
    if wrong := [source for source in sources if (source, target) not in _MOVES]:
        reason = f"no transition of model/states.py takes a backend's replication from {wrong[0]} to {target}"
        raise errors.InternalError(reason=reason)
    backend = tables.backends.c
    where = (backend.id == backend_id, backend.replication_status.in_(sources))
    values = {"replication_status": target, **changes}
    return conn.execute(tables.backends.update().where(*where).values(**values)).rowcount == 1
