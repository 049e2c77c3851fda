"""The bytes of a new volume that its backend did not share: copied from an image, a snapshot or another volume."""

import hashlib
from collections.abc import Callable
from typing import Any

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.digests import Digests
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.resolve import OpenImage
from nbdsvc.location import LOCAL, Location
from nbdsvc.model.context import ADMIN, MEMBER, Context
from nbdsvc.model.entities import Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import read_snapshot_ref, read_volume, read_volume_ref
from nbdsvc.store import repositories, secrets
from nbdsvc.units import GiB, to_gib


def fill_from_image(
    run: Run[Any], volume_id: str, reference: str, *, checked: bool, overwrite: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Copy an image, and zeros behind it; returns the bytes copied and what is known of the image.

    checked: the API has seen that the project may use it. overwrite: the volume is no new one, which reads as zeros; called
    before the first byte is written. Raises NotFound, BadImage (also one that is too large for the
    volume), ReadFailed, WriteFailed, ChecksumMismatch, OutOfSpace, and what `run.raise_if_stopped` raises.
    """
    host, volume = host_of(run), read_volume(run, volume_id)
    with host.database.write() as conn:
        repositories.volumes.transition_if(conn, volume.id, ("creating", "downloading"), "downloading")
        reference = secrets.of(conn, run.id) or reference

    def open_image() -> OpenImage:
        return host.images.open(reference, image_context(volume, checked=checked), volume.size * GiB, run.should_stop)

    with (
        journaled_copy.open_interruptibly(run, open_image, lambda late: late.source.close()) as image,
        image.source,
        journaled_copy.abort_reads_on_stop(run, image.source),
        image.check,
    ):
        needed = to_gib(image.facts.virtual_size)
        if needed > volume.size:
            raise errors.BadImage(
                image=image.name, reason=f"its virtual size needs {needed} GiB, and the volume has {volume.size} GiB"
            )
        ref = read_volume_ref(run, volume.id)
        journaled_copy.check_room(run, ref.pool, image.source)
        target, digests, empty = backend_of(run).driver.location(ref), Digests(volume.size * GiB), overwrite is None
        if overwrite:
            overwrite()
        result = journaled_copy.fill(
            run, image.source, target, digests.size, image.fingerprint, empty=empty, digests=digests
        )
        image.check.finish(run.should_stop)
        run.raise_if_stopped()
    host.digests.save(volume.id, digests)
    version = {"version": image.version.key} if image.version else {}
    return {**result, "image": shown_of(image), **version}


def shown_of(image: OpenImage) -> dict[str, str]:
    """What volumes of the image show of it."""
    facts = {"image_id": image.id or "", "image_name": image.name, "disk_format": image.facts.format}
    return {**facts, "size": str(image.facts.file_size), "container_format": "bare", **image.properties}


def image_context(volume: Volume, *, checked: bool) -> Context:
    """The context that opens the image: an administrator's where the API has checked access, else the project's."""
    return Context(volume.project_id, volume.user_id, frozenset({ADMIN if checked else MEMBER}), "")


def fill_from_snapshot(run: Run[Any], volume_id: str, snapshot_id: str) -> dict[str, int]:
    """Copy a snapshot; returns the bytes copied. Raises as `fill_from_image`, without what is the image's."""
    location = backend_of(run).snapshots().snapshot_location(read_snapshot_ref(run, snapshot_id))
    return _copy(run, location, snapshot_id, volume_id)


def fill_from_volume(run: Run[Any], volume_id: str, source_id: str) -> dict[str, int]:
    """Copy another volume, which must not be in use: Unsupported. Returns the bytes copied."""
    source = read_volume(run, source_id)
    if source.status == "in-use":
        raise errors.Unsupported(reason="this backend cannot clone a volume while it is in use")
    location = backend_of(run).driver.location(read_volume_ref(run, source_id))
    return _copy(run, location, source_id, volume_id)


def _copy(run: Run[Any], origin: Location, source_id: str, volume_id: str) -> dict[str, int]:
    host, volume = host_of(run), read_volume_ref(run, volume_id)
    with sources.open(origin) as source:
        journaled_copy.check_room(run, volume.pool, source)
        target = backend_of(run).driver.location(volume)
        result = journaled_copy.fill(run, source, target, volume.size, fingerprint_of(origin), empty=True)
    host.digests.copy(source_id, volume_id)
    return result


def fingerprint_of(source: Location) -> bytes:
    """At most 32 bytes by which the journal of a copy knows its source.

    Of a file or device the end of its name, whatever its folder: by that an upgrade resumes the copies of older versions.
    """
    if source.scheme in LOCAL:
        return source.path.name.encode()[-32:]
    return hashlib.sha256(source.address.encode()).digest()
