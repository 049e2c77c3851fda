"""Remove cached images: the oldest beyond the limits, those whose making failed, and as many as a full pool needs.

An eviction is the deletion of the entry's volume, which waits for clones that are being made of it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.decide import decide
from nbdsvc.store import backends, hosts, image_cache, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.image_cache import Entry
from nbdsvc.units import GiB
from nbdsvc.volumes.delete import DELETE_VOLUME, DeleteArgs
from nbdsvc.volumes.image_cache.decide import Cached, Limits, to_free, to_trim

# In these a deletion may begin: a failed creation has left a row, a failed deletion perhaps an object.
_REMOVABLE = ("available", "error", "error_deleting")


def context() -> Context:
    """Of operations that no request submits."""
    return Context(names.IMAGE_CACHE, "nbdsvc", frozenset({ADMIN}), "")


def cached(entries: Iterable[Entry]) -> list[Cached]:
    """The entries as decisions see them: without those that are being deleted."""
    return [
        Cached(each.volume.id, each.volume.size, each.last_used, each.volume.status in _REMOVABLE)
        for each in entries
        if each.volume.status != "deleting"
    ]


def submit_eviction(app: App, conn: sa.Connection, context: Context, id: str) -> bool:
    """Submit the deletion of an entry; False where it is being made, deleted or gone. Raises Frozen."""
    volume = repositories.volumes.find(conn, id)
    if volume is None or not repositories.volumes.transition_if(
        conn, id, _REMOVABLE, "deleting", previous_status=volume.status
    ):
        return False
    args = DeleteArgs(id)
    app.submit(conn, context, DELETE_VOLUME, args, backend=volume, resource=("volume", id), bounded=False)
    return True


def evict_all(app: App, conn: sa.Connection, ids: Iterable[str]) -> tuple[str, ...]:
    """Submit the deletion of these entries; the ids of those that go."""
    ids = sorted(ids)
    repositories.volumes.hold_left(conn, ids)
    return tuple(id for id in ids if submit_eviction(app, conn, context(), id))


def make_room(
    app: App, conn: sa.Connection, full_host: str, size: int, without: Collection[str] = ()
) -> tuple[str, ...]:
    """Evict the oldest entries of a pool until `size` GiB are freed, or none is left; the ids of those that go.

    without: those that were to go before, and could not be removed.
    """
    backend = backends.find(conn, full_host)
    if backend is None or backend.frozen:
        return ()
    there = [each for each in image_cache.in_pool(conn, full_host) if each.volume.id not in without]
    return evict_all(app, conn, to_free(cached(there), size))


def choose_pool(app: App, conn: sa.Connection, request: Request) -> str:
    """As placement.choose_pool. Where no pool has the room, the best one of those that have it without cached images, which
    are evicted.
    """
    try:
        return placement.choose_pool(app, conn, request)
    except errors.OutOfSpace:
        app.database.lock_name(conn, "image-cache")  # of two at once, the second finds what the first has left
        freeable = _freeable(conn)
        if not freeable:
            raise
        pools = [_without_cache(each, freeable) for each in placement.candidates(app, conn)]
        best = decide(request, pools, app.settings.scheduler_weights).best
        lacking = request.size - (best.room - freeable.get(best.full_name, 0))
        if lacking <= 0:  # the room came while the name was waited for
            return placement.choose_pool(app, conn, request)
        evicted = make_room(app, conn, best.full_name, -int(-lacking // GiB))
        if not evicted:
            raise
        return best.full_name


def _freeable(conn: sa.Connection) -> dict[str, int]:
    """Bytes of entries that may go, by pool."""
    found: dict[str, int] = {}
    for entry in image_cache.listed(conn):
        if entry.volume.status in _REMOVABLE:
            found[entry.volume.full_host] = found.get(entry.volume.full_host, 0) + entry.volume.size * GiB
    return found


def _without_cache(pool: Candidate, freeable: dict[str, int]) -> Candidate:
    return replace(pool, room=pool.room + freeable.get(pool.full_name, 0))


def sweep(app: App, host: str, limits: Callable[[str], Limits]) -> int:
    """Evict what is beyond the limits of each pool of this host, which the administrator may have lowered, and what could not
    be made or removed; how many. limits: by a backend's name.
    """
    with app.database.read() as conn:
        entries = [each for each in image_cache.listed(conn) if each.volume.host == host]
        ids = [id for id in _surplus(entries, limits) if not journal.busy(conn, id)]
    if not ids:
        return 0
    return sum(_sweep(app, id) for id in ids)


def _sweep(app: App, id: str) -> bool:
    with app.change() as conn:
        entry = image_cache.find(conn, id)
        backend = backends.find(conn, entry.volume.full_host) if entry else None
        if entry is None or backend is None or backend.frozen or hosts.is_lost(conn, entry.volume.host):
            return False
        return submit_eviction(app, conn, context(), id)


def _surplus(entries: Sequence[Entry], limits: Callable[[str], Limits]) -> list[str]:
    failed = [each.volume.id for each in entries if each.volume.status in ("error", "error_deleting")]
    whole = [each for each in entries if each.volume.id not in failed]
    pools = sorted({(each.volume.full_host, each.volume.backend) for each in whole})
    for full_host, backend in pools:
        there = [each for each in whole if each.volume.full_host == full_host]
        failed += to_trim(cached(there), limits(backend))
    return failed
