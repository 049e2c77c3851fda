"""Admission while the disk under the database is nearly full: what ends something goes on, what adds to it is refused."""

from nbdsvc import errors
from nbdsvc.store.database import Database
from nbdsvc.units import human

# Operations that leave a row, a file or an image behind.
ADDING = frozenset({"volume.create", "volume.manage", "volume.upload", "snapshot.create", "snapshot.manage"})


def check(database: Database, kind: str) -> None:
    """OutOfSpace, naming the folder, for an operation that adds something."""
    reserve = database.reserve
    if reserve and kind in ADDING and reserve.short():
        free = reserve.free()
        reason = (
            f"{human(free)} are free where the database is, and {human(reserve.size)} are kept for detach and delete"
        )
        raise errors.OutOfSpace(pool=str(reserve.path.parent), requested=reserve.size, free=free, reason=reason)
