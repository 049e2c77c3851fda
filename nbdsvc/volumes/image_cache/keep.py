"""Keep an image in the cache: when the first volume of it is whole, a clone of that volume is submitted.

In the transaction that ends the volume's own creation. So the clone comes before everything that may write to the volume:
its operation is the next one on the volume, and an attachment waits for it.
"""

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume
from nbdsvc.store import backends, image_cache, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.image_cache import Entry
from nbdsvc.units import GiB
from nbdsvc.volumes.create import CREATE_VOLUME, CreateArgs
from nbdsvc.volumes.image_cache.decide import Limits, to_admit
from nbdsvc.volumes.image_cache.evict import cached, context, evict_all

log = structlog.get_logger(__name__)


def limits_of(app: App, backend: str) -> Limits:
    """The limits of each pool of a backend of this process's settings; of another backend nothing is kept."""
    found = app.settings.served_backends.get(backend)
    return Limits(found.image_cache_count, found.image_cache_gigabytes) if found else Limits(0, 0)


def keep(app: App, conn: sa.Connection, volume_id: str, operation_id: str, key: str) -> None:
    """Submit the clone of a volume that has just been made of the image version `key`, where the cache takes it.

    The volume is whole in any case: what hinders the cache is logged.
    """
    volume = repositories.volumes.find(conn, volume_id)
    if volume is None or not _is_untouched(conn, volume, operation_id):
        return
    limits = limits_of(app, volume.backend)
    if not limits.gigabytes or not placement.instant_clone(conn, volume.full_host):
        return
    app.database.lock_name(conn, f"image-cache-{volume.full_host}")
    there = image_cache.in_pool(conn, volume.full_host)
    same = [each for each in there if each.key == key and each.volume.status in ("creating", "available")]
    if any(each.volume.size <= volume.size or each.volume.status == "creating" for each in same):
        return
    # One that is larger than this volume gives way to it: of a smaller one more volumes can be cloned.
    larger = [each.volume.id for each in same]
    others = [each for each in cached(there) if each.id not in larger]
    evicted = to_admit(others, limits, volume.size)
    if evicted is None or not _has_room(app, conn, volume):
        log.info("an image is not cached: it is too large", image=volume.image_id, pool=volume.full_host)
        return
    try:
        with conn.begin_nested():
            _submit(app, conn, volume, key)
    except errors.Error as error:  # frozen, or the database's disk is nearly full
        log.info("an image is not cached", image=volume.image_id, pool=volume.full_host, reason=str(error))
        return
    evict_all(app, conn, [*larger, *evicted])


def _is_untouched(conn: sa.Connection, volume: Volume, operation_id: str) -> bool:
    """Whether nothing has written to it, nor will before an operation that is submitted now."""
    waiting = [each for each in journal.unfinished_of(conn, volume.id) if each.id != operation_id]
    return volume.status == "available" and not waiting and not repositories.attachments_of(conn, volume.id)


def _has_room(app: App, conn: sa.Connection, volume: Volume) -> bool:
    """A cached image takes no room that a volume could have: it is made only where there is room for it now."""
    backend = backends.find(conn, volume.full_host)
    pools: list[PoolStats] = backends.pools(conn, backend.id) if backend and not backend.disabled else []
    return any(
        pool.name == volume.pool and placement.reserve(app, conn, volume.full_host, volume.size * GiB, pool)
        for pool in pools
    )


def _submit(app: App, conn: sa.Connection, volume: Volume, key: str) -> None:
    image = volume.image_metadata.get("image_name") or str(volume.image_id)
    entry = Volume(
        id=names.new_id(),
        project_id=names.IMAGE_CACHE,
        user_id=context().user_id,
        size=volume.size,
        status="creating",
        host=volume.host,
        backend=volume.backend,
        pool=volume.pool,
        name=f"cached image {image}"[:255],
        availability_zone=volume.availability_zone,
        bootable=True,
        image_id=volume.image_id,
        image_metadata=volume.image_metadata,
    )
    args = CreateArgs(entry.id, source_volid=volume.id)
    image_cache.insert(conn, Entry(entry, key, str(volume.image_id), clock.now(), 0))
    app.submit(conn, context(), CREATE_VOLUME, args, backend=entry, resource=("volume", entry.id), bounded=False)
