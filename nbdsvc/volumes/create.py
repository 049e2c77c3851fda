"""Create a volume: empty, or with the bytes of an image, a snapshot or another volume."""

from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.http import url
from nbdsvc.images.resolve import Images
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.groups import Group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import IF_SET, OperationType, Run, Step
from nbdsvc.refs import keep_state, read_snapshot_ref, read_volume_ref
from nbdsvc.scheduler.candidate import Nearness, Request
from nbdsvc.store import qos_specs, quotas, repositories, secrets, transitions
from nbdsvc.types.encryption import check_not_encrypted
from nbdsvc.types.queries import usable_type
from nbdsvc.units import GiB
from nbdsvc.volumes.fill import fill_from_image, fill_from_snapshot, fill_from_volume
from nbdsvc.volumes.group import beside, check_fits, find_group
from nbdsvc.volumes.hints import SchedulerHints, look_up
from nbdsvc.volumes.read import Related, related_in
from nbdsvc.volumes.source import VolumeSource, find_source
from nbdsvc.volumes.zone import zone_of_new

# The property by which an image names the volume type of volumes made of it, as in Cinder.
_IMAGE_TYPE = "cinder_img_volume_type"


@dataclass(frozen=True)
class CreateVolumeRequest:
    """A request for a volume, with at most one of snapshot_id, source_volid, source_replica and image."""

    size: int | None = None
    """GiB; None: the size of the source."""
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    """Name or id; None: the type of the source, of the image, or the default one."""
    snapshot_id: str | None = None
    source_volid: str | None = None
    image: str | None = None
    """The id of an image, or a URL."""
    boot_snapshots: bool = False
    """Of an image without bytes that names a snapshot, the snapshot is the source (microversion 3.46)."""
    source_replica: str | None = None
    """A volume of whose replica it gets the bytes."""
    availability_zone: str | None = None
    multiattach: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    hints: SchedulerHints = field(default_factory=SchedulerHints)
    group_id: str | None = None
    consistencygroup_id: str | None = None
    """As group_id, of a group of the older API."""


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


def create_volume(app: App, context: Context, request: CreateVolumeRequest) -> tuple[Volume, Related]:
    """Write the new volume's row (`creating`), its quota and its operation in one transaction.

    Returns the row and what is shown with it: read here, because once the operation is at work the reply waits for it.

    Raises InvalidInput (two sources, no size, smaller than the source, another zone than the source's), NotFound (source,
    type, image, what hints name), InvalidState (source), QuotaExceeded, OutOfSpace, BackendUnavailable (no host takes
    volumes).
    """
    given = (request.snapshot_id, request.source_volid, request.source_replica, request.image)
    if sum(source is not None for source in given) > 1:
        reason = "only one of snapshot_id, source_volid, source_replica and imageRef may be given"
        raise errors.InvalidInput(field="volume", value=None, reason=reason)
    if request.image is not None and app.images:
        request = _resolved(app.images, context, request, request.image)
    app.check_database_room()  # checked before the pools: where they share a full disk, this reason is the useful one
    reference, request = request.image, replace(request, image=_without_credentials(request.image))
    with app.change() as conn:
        near = look_up(conn, owner_scope(context), request.hints)
        group = _group(conn, context, request)
        near = beside(group, near) if group else near
        volume = repositories.volumes.insert(conn, _new_row(app, conn, context, request, near, group))
        args = CreateArgs(
            volume.id,
            request.snapshot_id,
            request.source_volid,
            request.image,
            image_resolved=app.images is not None,
            near=near.to_json(),
            source_replica=request.source_replica,
        )
        submitted = app.submit(conn, context, CREATE_VOLUME, args, backend=volume, resource=("volume", volume.id))
        if reference is not None and reference != request.image:
            secrets.keep(conn, submitted.id, reference)
        related = related_in(app, conn, [volume])
    return volume, related


def _resolved(images: Images, context: Context, request: CreateVolumeRequest, image: str) -> CreateVolumeRequest:
    if request.boot_snapshots and (snapshot := images.boot_snapshot(image, context)):
        return replace(request, image=None, snapshot_id=snapshot)
    return replace(request, image=images.resolve(image, context))


def _without_credentials(reference: str | None) -> str | None:
    """A reference as rows keep it: of a URL neither user and password nor the query, which may be a signature."""
    if reference is None or not url.is_http(reference):
        return reference
    address, mark, disk = reference.partition("#")
    return url.parse(address).shown + mark + disk


def _group(conn: sa.Connection, context: Context, request: CreateVolumeRequest) -> Group | None:
    id, older = request.group_id or request.consistencygroup_id, request.group_id is None
    return find_group(conn, id, owner_scope(context), consistency_group=older) if id else None


def _new_row(
    app: App,
    conn: sa.Connection,
    context: Context,
    request: CreateVolumeRequest,
    near: Nearness,
    group: Group | None,
) -> Volume:
    source = find_source(conn, owner_scope(context), request.snapshot_id, request.source_volid, request.source_replica)
    volume_type = _type(app, conn, context, request, source)
    check_not_encrypted(conn, volume_type)
    if group:
        check_fits(group, volume_type, source)
        request = replace(request, availability_zone=request.availability_zone or group.availability_zone)
    zone = zone_of_new(app, conn, request.availability_zone, source, volume_type)
    size = _size(request, source)
    _check_quota(app, conn, context, size)
    multiattach = request.multiattach or volume_type.multiattach
    limits = qos_specs.specs_of(conn, volume_type)
    new = Request(size * GiB, zone, volume_type.extra_specs, multiattach, near=near, seed=names.new_id(), qos=limits)
    if source:
        same_type = volume_type.id == source.type_id
        where = placement.choose_pool_of_copy(app, conn, source.host, new, same_type=same_type)
    else:
        where = placement.choose_pool(app, conn, new)
    host, backend, pool = names.split_host(where)
    return Volume(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        size=size,
        status="creating",
        host=host,
        backend=backend,
        pool=pool,
        name=request.name,
        description=request.description,
        availability_zone=zone,
        volume_type_id=volume_type.id,
        snapshot_id=request.snapshot_id,
        source_volid=request.source_volid,
        image_id=request.image,
        bootable=bool(source and source.bootable),
        multiattach=multiattach,
        metadata=request.metadata,
        image_metadata=source.image_metadata if source else {},
        group_id=group.id if group else None,
    )


def _type(
    app: App, conn: sa.Connection, context: Context, request: CreateVolumeRequest, source: VolumeSource | None
) -> VolumeType:
    """The type that the request names, else the type of the snapshot or volume, else the one that the image names."""
    if request.volume_type is None and source and source.type_id:
        return repositories.volume_types.get(conn, source.type_id)
    name = request.volume_type
    if name is None and request.image is not None and app.images:
        name = app.images.properties(request.image, context).get(_IMAGE_TYPE)
    return usable_type(app, conn, context, name)


def _size(request: CreateVolumeRequest, source: VolumeSource | None) -> int:
    size = request.size if request.size is not None else (source.size if source else None)
    if size is None:
        raise errors.InvalidInput(field="size", value=None, reason="a new volume needs a size")
    if source and size < source.size:
        raise errors.InvalidInput(
            field="size", value=size, reason=f"must not be smaller than its source's {source.size} GiB"
        )
    return size


def _check_quota(app: App, conn: sa.Connection, context: Context, size: int) -> None:
    more = {"volumes": 1, "gigabytes": size}
    quotas.check(app.database, conn, context.project_id, app.settings.quotas, more)
    quotas.check_volume_size(conn, context.project_id, app.settings.quotas, size)


def _locks(args: CreateArgs) -> list[Lock]:
    """Shared with other clones of the source, but neither with its deletion nor with an attach that could write to it."""
    source = args.source_volid or args.source_replica
    return locks("volume.create", volume=args.volume_id, snapshot=args.snapshot_id, source=source)


def _allocate(run: Run[CreateArgs]) -> dict[str, bool]:
    """Make the object: cloned at once where the backend can, else empty, to be filled by the next step."""
    backend, digests, args = backend_of(run), host_of(run).digests, run.args
    volume, instant = read_volume_ref(run, args.volume_id), backend.able.instant_clone
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
        instant = not (args.snapshot_id or args.source_volid or args.image)
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
    image = (operation.results.get("fill") or {}).get("image")
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
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
