"""What an administrator sees of the image cache, and takes out of it."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.store import image_cache
from nbdsvc.store.image_cache import Entry
from nbdsvc.volumes.image_cache.evict import submit_eviction

__all__ = ["Entry", "evict_cached", "list_cached"]


def list_cached(app: App) -> list[Entry]:
    """The cached images of all hosts, the one that was not used for the longest time first."""
    with app.database.read() as conn:
        return image_cache.listed(conn)


def evict_cached(app: App, context: Context, id: str) -> None:
    """Start the removal of a cached image, after the clones that are being made of it; again it does nothing.

    Raises NotFound, InvalidState while it is being made, and Frozen.
    """
    with app.change() as conn:
        entry = image_cache.find(conn, id)
        if entry is None:
            raise errors.NotFound(resource="Cached image", id=id)
        status = entry.volume.status
        if not submit_eviction(app, conn, context, id) and status != "deleting":
            allowed = ["available", "error", "error_deleting"]
            raise errors.InvalidState(
                resource="Cached image", id=id, action="be evicted", status=status, allowed=allowed
            )
