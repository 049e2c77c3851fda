"""Create a volume: empty, or with the bytes of an image, a snapshot or another volume."""

from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.http import url
from nbdsvc.images.resolve import Images
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import IF_SET, OperationType, Run, Step
from nbdsvc.refs import keep_state, read_snapshot_ref, read_volume_ref
from nbdsvc.store import image_cache, repositories, secrets, transitions
from nbdsvc.volumes.allocate import allocate_for_image
from nbdsvc.volumes.fill import fill_from_image, fill_from_snapshot, fill_from_volume
from nbdsvc.volumes.new_row import CreateVolumeRequest, check_one_source, insert_volume
from nbdsvc.volumes.read import Related, related_in

# The property by which an image names the volume type of volumes made of it, as in Cinder.
_IMAGE_TYPE = "cinder_img_volume_type"


@dataclass(frozen=True)
class CreateArgs:
    """Arguments of the operation `volume.create`."""

    volume_id: str
    snapshot_id: str | None = None
    source_volid: str | None = None
    image: str | None = None
    """Without credentials, which are kept apart until the operation ends."""
    image_resolved: bool = False
    """The API has checked that the project may use the image."""
    near: dict[str, list[str]] = field(default_factory=dict, metadata=IF_SET)
    """Where the hints want it: scheduler.candidate.Nearness."""
    tried: tuple[dict[str, Any], ...] = field(default=(), metadata=IF_SET)
    """The pools in which it failed before, each with the error."""
    source_replica: str | None = field(default=None, metadata=IF_SET)
    after: tuple[str, ...] = field(default=(), metadata=IF_SET)
    """Cached images that are deleted to make room for it: it waits until they are."""


def create_volume(app: App, context: Context, request: CreateVolumeRequest) -> tuple[Volume, Related]:
    """Write the new volume's row (`creating`), its quota and its operation in one transaction.

    Returns the row and what is shown with it: read here, because once the operation is at work the reply waits for it.

    Raises InvalidInput (two sources, no size, smaller than the source, another zone than the source's), NotFound (source,
    type, image, what hints name), InvalidState (source), QuotaExceeded, OutOfSpace, BackendUnavailable (no host takes
    volumes).
    """
    check_one_source(request)
    if request.image is not None and app.images:
        request = _resolved(app.images, context, request, request.image)
    app.check_database_room()  # checked before the pools: where they share a full disk, this reason is the useful one
    reference = request.image
    if reference is not None:
        request = replace(request, image=without_credentials(reference))
    with app.change() as conn:
        volume, near = insert_volume(app, conn, context, request)
        args = CreateArgs(
            volume.id,
            request.snapshot_id,
            request.source_volid,
            request.image,
            image_resolved=app.images is not None,
            near=near.to_json(),
            source_replica=request.source_replica,
            after=image_cache.going(conn, volume.full_host),
        )
        submitted = app.submit(conn, context, CREATE_VOLUME, args, backend=volume, resource=("volume", volume.id))
        if reference is not None and reference != request.image:
            secrets.keep(conn, submitted.id, reference)
        related = related_in(app, conn, [volume])
    return volume, related


def _resolved(images: Images, context: Context, request: CreateVolumeRequest, image: str) -> CreateVolumeRequest:
    """The request with what its image says. Before the transaction, because an image service may be slow."""
    found = images.look_up(image, context)
    volume_type = request.volume_type or found.properties.get(_IMAGE_TYPE)
    if request.boot_snapshots and found.boot_snapshot:
        return replace(request, image=None, snapshot_id=found.boot_snapshot)
    found.check(request.size)
    return replace(request, image=found.reference, volume_type=volume_type)


def without_credentials(reference: str) -> str:
    """A reference as rows keep it: of a URL neither user and password nor the query, which may be a signature."""
    if not url.is_http(reference):
        return reference
    address, mark, disk = reference.partition("#")
    return url.parse(address).shown + mark + disk


def locks_of(args: CreateArgs) -> list[Lock]:
    """Shared with other clones of the source, but neither with its deletion nor with an attach that could write to it."""
    source = args.source_volid or args.source_replica
    ids: dict[str, str | list[str] | None] = {"snapshot": args.snapshot_id, "source": source}
    return locks("volume.create", volume=args.volume_id, awaited=list(args.after), **ids)


def _allocate(run: Run[CreateArgs]) -> dict[str, Any]:
    """Make the object: cloned at once where the backend can, else empty, to be filled by the next step."""
    backend, digests, args = backend_of(run), host_of(run).digests, run.args
    volume, instant = read_volume_ref(run, args.volume_id), backend.able.instant_clone
    if args.image:
        made = allocate_for_image(run, volume, args.image, checked=args.image_resolved)
        keep_state(run, repositories.volumes, volume.id, made.state)
        return {"filled": made.image is not None, **({"image": made.image} if made.image else {})}
    if args.snapshot_id and instant:
        state = backend.clones().create_volume_from_snapshot(volume, read_snapshot_ref(run, args.snapshot_id), run.id)
        digests.copy(args.snapshot_id, volume.id)
    elif args.source_volid and instant:
        state = backend.clones().create_cloned_volume(volume, read_volume_ref(run, args.source_volid), run.id)
        digests.copy(args.source_volid, volume.id)
    elif args.source_replica:
        source, instant = read_volume_ref(run, args.source_replica), True
        state = backend.replicas().create_replica_test_volume(volume, source, run.id)
    else:
        state = backend.driver.create_volume(volume, run.id)
        instant = not (args.snapshot_id or args.source_volid)
    keep_state(run, repositories.volumes, volume.id, state)
    return {"filled": instant}


def _undo_allocate(run: Run[CreateArgs]) -> None:
    host_of(run).digests.discard(run.args.volume_id)
    backend_of(run).driver.delete_volume(read_volume_ref(run, run.args.volume_id))
    journaled_copy.remove_journal(run)


def _has_to_be_filled(run: Run[CreateArgs]) -> bool:
    return not run.results["allocate"]["filled"]


def _fill(run: Run[CreateArgs]) -> dict[str, Any] | None:
    """Copy the bytes; None where there is nothing to copy."""
    args = run.args
    if run.results["allocate"]["filled"]:
        return None
    if args.image:
        return fill_from_image(run, args.volume_id, args.image, checked=args.image_resolved)
    if args.snapshot_id:
        return fill_from_snapshot(run, args.volume_id, args.snapshot_id)
    return fill_from_volume(run, args.volume_id, str(args.source_volid))


def _succeed(conn: sa.Connection, operation: Operation, args: CreateArgs) -> None:
    image = operation.results["allocate"].get("image") or (operation.results.get("fill") or {}).get("image")
    changes = {"image_metadata": image, "bootable": True} if image else {}
    transitions.finish_volume(conn, args.volume_id, ("creating", "downloading"), "available", **changes)


def _fail(conn: sa.Connection, _operation: Operation, args: CreateArgs, _error: errors.Error) -> None:
    transitions.finish_volume(conn, args.volume_id, ("creating", "downloading"), "error")


CREATE_VOLUME = OperationType(
    "volume.create",
    CreateArgs,
    (
        Step("allocate", _allocate, _undo_allocate),
        Step("fill", _fill, copies=_has_to_be_filled, needed=_has_to_be_filled),
        Step("tidy", journaled_copy.remove_journal, needed=_has_to_be_filled),
    ),
    locks_of,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
