"""The bytes of a new volume that its backend did not share: copied from an image, a snapshot or another volume."""

from typing import Any

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.source import open_path
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.sources import OpenImage
from nbdsvc.manager import settling
from nbdsvc.model.context import ADMIN, MEMBER, Context
from nbdsvc.model.entities import Volume
from nbdsvc.operations.step import Run
from nbdsvc.refs import read_snapshot_ref, read_volume, read_volume_ref
from nbdsvc.store import secrets
from nbdsvc.units import GiB, to_gib


def fill(run: Run) -> dict[str, Any] | None:
    """The step `fill` of volume.create; None where there is nothing to copy."""
    if run.results["allocate"]["filled"]:
        return None
    return _fill_from_image(run) if run.args["image"] else _fill_from_backend(run)


def _reference(run: Run) -> str:
    """With its credentials, where it has some."""
    with host_of(run).database.read() as conn:
        return secrets.of(conn, run.id) or str(run.args["image"])


def _fill_from_image(run: Run) -> dict[str, Any]:
    host, volume = host_of(run), read_volume(run, run.args["volume_id"])
    with host.database.write() as conn:
        settling.volume(conn, volume.id, "creating", "downloading")

    def open_image() -> OpenImage:
        return host.images.open(_reference(run), _image_context(run, volume), volume.size * GiB, run.should_stop)

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
        journaled_copy.check_room(run, image.source)
        path, digests = backend_of(run).driver.local_path(read_volume_ref(run, volume.id)), Digests(volume.size * GiB)
        result = journaled_copy.fill(
            run, image.source, path, digests.size, image.fingerprint, empty=True, digests=digests
        )
        image.check.finish(run.should_stop)
        run.check()
    host.digests.save(volume.id, digests)
    facts = {"image_id": image.id or "", "image_name": image.name, "disk_format": image.facts.format}
    return {**result, "image": {**facts, "size": str(image.facts.file_size), "container_format": "bare"}}


def _image_context(run: Run, volume: Volume) -> Context:
    """Who opens the image: an administrator where the API checked access already, else the volume's project."""
    roles = frozenset({ADMIN if run.args.get("image_resolved") else MEMBER})
    return Context(volume.project_id, volume.user_id, roles, "")


def _fill_from_backend(run: Run) -> dict[str, int]:
    host, volume = host_of(run), read_volume(run, run.args["volume_id"])
    if run.args["snapshot_id"]:
        path = backend_of(run).driver.snapshot_path(read_snapshot_ref(run, run.args["snapshot_id"]))
    else:
        origin = read_volume(run, run.args["source_volid"])
        if origin.status == "in-use":
            raise errors.Unsupported(reason="this backend cannot clone a volume while it is in use")
        path = backend_of(run).driver.local_path(read_volume_ref(run, origin.id))
    fingerprint = path.name.encode()[-32:]
    with open_path(path) as source:
        journaled_copy.check_room(run, source)
        target = backend_of(run).driver.local_path(read_volume_ref(run, volume.id))
        result = journaled_copy.fill(run, source, target, volume.size * GiB, fingerprint, empty=True)
    host.digests.copy(run.args["snapshot_id"] or run.args["source_volid"], volume.id)
    return result
