"""The object of a new volume that is to have an image's bytes: with them where the backend has them already, else empty."""

from dataclasses import dataclass
from typing import Any

from nbdsvc import errors, journaled_copy
from nbdsvc.driver import CloneImageDriver, ProviderState, VolumeRef
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.http import url
from nbdsvc.images.resolve import OpenImage
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import read_volume, read_volume_ref
from nbdsvc.units import GiB, to_gib
from nbdsvc.volumes.fill import image_context, shown_of
from nbdsvc.volumes.image_cache.find import Found, find_cached, give_up


@dataclass(frozen=True)
class Made:
    """The driver's state of the object; image: what the volume shows of its image, None where that is still to be copied."""

    state: ProviderState | None
    image: dict[str, str] | None = None


def allocate_for_image(run: Run[Any], volume: VolumeRef, reference: str, *, checked: bool) -> Made:
    """A clone of a cached image, or what the driver makes of the image itself, else an empty object.

    A step that is run again removes what it made before, unless it made a clone of the same entry: the image may have been
    changed, and what is copied over it leaves the zeros out. Raises as opening the image, and as the driver.
    """
    row = read_volume(run, volume.id)
    backend, context = backend_of(run), image_context(row, checked=checked)
    cached = find_cached(run, row, reference, context)
    if cached and (made := _cloned(run, volume, cached)):
        return made
    if cached or run.operation.attempts:  # whether it may clone now does not say what it made before
        backend.driver.delete_volume(volume)
    elif made := _cloned_by_driver(run, volume, reference, context):
        return made
    return Made(backend.driver.create_volume(volume, run.id))


def _cloned(run: Run[Any], volume: VolumeRef, cached: Found) -> Made | None:
    """None where the entry's object is not what it should be: the volume can be made without it."""
    try:
        state = backend_of(run).clones().create_cloned_volume(volume, read_volume_ref(run, cached.id), run.id)
    except errors.OutOfSpace:
        raise
    except errors.BackendError as error:
        give_up(run, cached, error)
        return None
    host_of(run).digests.copy(cached.id, volume.id)
    return Made(state, cached.image)


def _cloned_by_driver(run: Run[Any], volume: VolumeRef, reference: str, context: Context) -> Made | None:
    """None where the driver does not clone this image, or the volume is too small for it, which the copy refuses."""
    host, driver = host_of(run), backend_of(run).driver
    if not isinstance(driver, CloneImageDriver) or not driver.facts.clones_images or url.is_http(reference):
        return None

    def open_image() -> OpenImage:
        return host.images.open(reference, context, volume.size, run.should_stop)

    with journaled_copy.open_interruptibly(run, open_image, lambda late: late.source.close()) as image, image.source:
        if image.location is None or to_gib(image.facts.virtual_size) * GiB > volume.size:
            return None
        facts = {**shown_of(image), "virtual_size": image.facts.virtual_size}
        state, cloned = driver.clone_image(volume, image.location, image.id, facts, run.id)
        return Made(state, shown_of(image)) if cloned else None
