"""Find the cached image of a new volume, next to the storage: the request's right to the image is judged first.

A step that is run again must decide as before, because what it made by the first decision is there. The lock of the entry is
the record of the decision, in the transaction that makes it. Without it nothing was cloned, but perhaps something else was
made: then nothing is looked for again.
"""

from dataclasses import dataclass
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.version import ImageVersion
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import image_cache, repositories

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Found:
    """The volume of a cached image; image: what the volumes of the image show of it."""

    id: str
    image: dict[str, str]


def find_cached(run: Run[Any], volume: Volume, reference: str, context: Context) -> Found | None:
    """The entry of which the volume is to be cloned, which stays until the operation ends; None: the image is to be copied.

    Raises what opening the image raises: NotFound for one that the context may not use, also where it is cached.
    """
    host, backend = host_of(run), backend_of(run)
    if not backend.caches_images or not backend.able.instant_clone:
        return None
    with host.database.read() as conn:
        chosen = image_cache.used_by(conn, run.id)
    if chosen is None and run.operation.attempts == 0:
        version = host.images.version(reference, context)
        chosen = _choose(run, volume, version) if version else None
    if chosen is None:
        return None
    with host.database.read() as conn:
        entry = repositories.volumes.get(conn, chosen)
    # One that was given up is perhaps being removed by now: then what is there may be the empty object made in its place.
    return Found(chosen, entry.image_metadata) if entry.status == "available" else None


def give_up(run: Run[Any], found: Found, error: errors.Error) -> None:
    """Take an entry out of use that its backend cannot clone; maintenance removes it."""
    log.warning("a cached image cannot be cloned, and is removed", volume=found.id, reason=str(error))
    with host_of(run).database.write() as conn:
        repositories.volumes.transition_if(conn, found.id, ("available",), "error")


def _choose(run: Run[Any], volume: Volume, version: ImageVersion) -> str | None:
    with host_of(run).database.write() as conn:
        for entry in image_cache.of_key(conn, version.key, volume.full_host):
            if entry.volume.size <= volume.size and image_cache.use(conn, entry.volume.id, run.id):
                return entry.volume.id
    return None
