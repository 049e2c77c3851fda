"""Manages an existing object of a pool: it becomes a volume."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.backends.find_pool import find_in_cluster, find_pool
from nbdsvc.backends.zones import choose_zone
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_volume, read_volume_ref
from nbdsvc.store import quotas, repositories, transitions
from nbdsvc.types.encryption import check_not_encrypted
from nbdsvc.types.queries import usable_type
from nbdsvc.units import to_gib


@dataclass(frozen=True)
class ManageVolumeRequest:
    """A request to manage an object: its reference, and the attributes of the volume."""

    host: str
    """The pool: host@backend, or with #pool."""
    ref: dict[str, str]
    """What the driver knows the object by: source-name or source-id."""
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    in_cluster: bool = False
    """The pool's name is its cluster's: cluster@backend, or with #pool."""


@dataclass(frozen=True)
class ManageVolumeArgs:
    """Arguments of the operation `volume.manage`."""

    volume_id: str
    ref: dict[str, str]
    quotas: dict[str, int]
    """The limits of a project that has none of its own."""
    pool: str = ""
    """host@backend#pool; empty in operations of an older version."""
    extra_specs: dict[str, str] = field(default_factory=dict)
    """Of operations of an older version: the specs of the volume's type are read when they are used."""


def manage_volume(app: App, context: Context, request: ManageVolumeRequest) -> Volume:
    """Start managing an object. Its size is not known before the backend has looked, so the volume has 0 GiB until then.

    Raises InvalidInput for a pool or zone that there is not, BackendUnavailable where its service is down or disabled,
    Unsupported where its driver manages no volumes, NotFound for the type, QuotaExceeded. What is wrong with the object is
    the error of the operation.
    """
    with app.change() as conn:
        host = find_in_cluster(app, conn, request.host) if request.in_cluster else request.host
        pool = find_pool(app, conn, host)
        placement.require(conn, pool, "ManageDriver")
        volume_type = usable_type(app, conn, context, request.volume_type)
        check_not_encrypted(conn, volume_type)
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"volumes": 1})
        zone = choose_zone(app, conn, request.availability_zone, volume_type)
        volume = repositories.volumes.insert(conn, _row(context, request, volume_type, pool, zone))
        args = ManageVolumeArgs(volume.id, request.ref, app.settings.quotas, pool)
        app.submit(conn, context, MANAGE_VOLUME, args, backend=pool, resource=("volume", volume.id))
    return volume


def _row(context: Context, request: ManageVolumeRequest, volume_type: VolumeType, full_host: str, zone: str) -> Volume:
    name, backend, pool = names.split_host(full_host)
    return Volume(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        size=0,
        status="managing",
        host=name,
        backend=backend,
        pool=pool,
        name=request.name,
        description=request.description,
        availability_zone=zone,
        volume_type_id=volume_type.id,
        bootable=request.bootable,
        multiattach=volume_type.multiattach,
        metadata=request.metadata,
    )


def _locks(args: ManageVolumeArgs) -> list[Lock]:
    return locks("volume.manage", volume=args.volume_id, pool=args.pool)


def _measure(run: Run[ManageVolumeArgs]) -> dict[str, int]:
    """Give the row the size of the object (GiB), as far as the project's quota allows it."""
    volume = read_volume(run, run.args.volume_id)
    size = to_gib(backend_of(run).manages().manage_existing_get_size(read_volume_ref(run, volume.id), run.args.ref))
    with host_of(run).database.write() as conn:
        _check_quota(run, conn, volume, size)
        repositories.volumes.update(conn, volume.id, size=size)
    return {"size": size}


def _check_quota(run: Run[ManageVolumeArgs], conn: sa.Connection, volume: Volume, size: int) -> None:
    defaults, more = run.args.quotas, {"gigabytes": size - volume.size}
    quotas.check_volume_size(conn, volume.project_id, defaults, size)
    quotas.check(host_of(run).database, conn, volume.project_id, defaults, more)


def _manage(run: Run[ManageVolumeArgs]) -> None:
    volume = read_volume_ref(run, run.args.volume_id)
    state = backend_of(run).manages().manage_existing(volume, run.args.ref, run.id)
    keep_state(run, repositories.volumes, volume.id, state)


def _unmanage(run: Run[ManageVolumeArgs]) -> None:
    backend_of(run).manages().unmanage(read_volume_ref(run, run.args.volume_id), run.id, run.args.ref)


def _succeed(conn: sa.Connection, _operation: Operation, args: ManageVolumeArgs) -> None:
    transitions.finish_volume(conn, args.volume_id, "managing", "available")


def _fail(conn: sa.Connection, _operation: Operation, args: ManageVolumeArgs, error: errors.Error) -> None:
    """The row has no object: it takes no gigabytes, and deleting it deletes nothing."""
    transitions.finish_volume(conn, args.volume_id, "managing", "error_managing", size=0)


MANAGE_VOLUME = OperationType(
    "volume.manage",
    ManageVolumeArgs,
    (Step("measure", _measure), Step("adopt", _manage, _unmanage)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
