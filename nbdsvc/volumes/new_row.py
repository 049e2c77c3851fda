"""The row of a new volume: what a request wants, and where it is placed."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.groups import Group
from nbdsvc.scheduler.candidate import Nearness, Request
from nbdsvc.store import qos_specs, quotas, repositories
from nbdsvc.types.encryption import check_not_encrypted
from nbdsvc.types.queries import usable_type
from nbdsvc.units import GiB
from nbdsvc.volumes.group import beside, check_fits, find_group
from nbdsvc.volumes.hints import SchedulerHints, look_up
from nbdsvc.volumes.image_cache.evict import choose_pool
from nbdsvc.volumes.source import VolumeSource, find_source
from nbdsvc.volumes.zone import zone_of_new


@dataclass(frozen=True)
class CreateVolumeRequest:
    """A request for a volume, with at most one of snapshot_id, source_volid, source_replica, image and backup_id."""

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
    backup_id: str | None = None
    """A backup that is restored to it (backups/restore.py)."""
    availability_zone: str | None = None
    multiattach: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    hints: SchedulerHints = field(default_factory=SchedulerHints)
    group_id: str | None = None
    consistencygroup_id: str | None = None
    """As group_id, of a group of the older API."""


def check_one_source(request: CreateVolumeRequest) -> None:
    """InvalidInput where more than one source is given."""
    given = (request.snapshot_id, request.source_volid, request.source_replica, request.image, request.backup_id)
    if sum(source is not None for source in given) > 1:
        reason = "only one of snapshot_id, source_volid, source_replica, imageRef and backup_id may be given"
        raise errors.InvalidInput(field="volume", value=None, reason=reason)


def insert_volume(
    app: App, conn: sa.Connection, context: Context, request: CreateVolumeRequest, status: str = "creating"
) -> tuple[Volume, Nearness]:
    """Place the new volume, count it against the quota and write its row; where the hints and its group want it, too.

    Raises as `create_volume`, which says for what.
    """
    near = look_up(conn, owner_scope(context), request.hints)
    group = _group(conn, context, request)
    near = beside(group, near) if group else near
    return repositories.volumes.insert(conn, _new_row(app, conn, context, request, near, group, status)), near


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
    status: str,
) -> Volume:
    source, volume_type, zone, size = _wanted(app, conn, context, request, group)
    multiattach = request.multiattach or volume_type.multiattach
    limits = qos_specs.demands(conn, volume_type)
    new = Request(size * GiB, zone, volume_type.extra_specs, multiattach, near=near, seed=names.new_id(), **limits)
    if source:
        same_type = volume_type.id == source.type_id
        where = placement.choose_pool_of_copy(app, conn, source.host, new, same_type=same_type)
    else:
        where = choose_pool(app, conn, new)
    host, backend, pool = names.split_host(where)
    return Volume(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        size=size,
        status=status,
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


def _wanted(
    app: App, conn: sa.Connection, context: Context, request: CreateVolumeRequest, group: Group | None
) -> tuple[VolumeSource | None, VolumeType, str, int]:
    """The source, and the type, zone and size that the volume gets; checked against the quotas before the source is held, as
    what extends that does. Where it changed meanwhile, it is looked at again.
    """
    ids = (owner_scope(context), request.snapshot_id, request.source_volid, request.source_replica)
    source = find_source(conn, *ids)
    wanted = _checked(app, conn, context, request, group, source)
    held = find_source(conn, *ids, hold=True) if source else None
    return (held, *(wanted if held == source else _checked(app, conn, context, request, group, held)))


def _checked(
    app: App,
    conn: sa.Connection,
    context: Context,
    request: CreateVolumeRequest,
    group: Group | None,
    source: VolumeSource | None,
) -> tuple[VolumeType, str, int]:
    """The type, zone and size of a volume of this source, which the group and the quotas allow."""
    volume_type = _type(app, conn, context, request, source)
    check_not_encrypted(conn, volume_type)
    if group:
        check_fits(group, volume_type, source)
    wanted_zone = request.availability_zone or (group.availability_zone if group else None)
    zone, size = zone_of_new(app, conn, wanted_zone, source, volume_type), _size(request, source)
    _check_quota(app, conn, context, size)
    return volume_type, zone, size


def _type(
    app: App, conn: sa.Connection, context: Context, request: CreateVolumeRequest, source: VolumeSource | None
) -> VolumeType:
    """The type that the request, or its image, names, else the type of the snapshot or volume."""
    if request.volume_type is None and source and source.type_id:
        return repositories.volume_types.get(conn, source.type_id)
    return usable_type(app, conn, context, request.volume_type)


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
