"""Manage an existing object of a pool: it becomes a volume (rows S097-S100)."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation
from nbdsvc.backends.find_pool import find_pool
from nbdsvc.backends.zones import choose_zone
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import volume_of, volume_ref
from nbdsvc.store import nouns, quotas
from nbdsvc.types.queries import usable_type
from nbdsvc.units import to_gib


@dataclass(frozen=True)
class ManageVolumeRequest:
    """What a client wants to manage, and what the volume is to be."""

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


def manage_volume(app: App, context: Context, request: ManageVolumeRequest) -> Volume:
    """Start managing an object. Its size is not known before the backend has looked, so the volume has 0 GiB until then.

    Raises InvalidInput for a pool or zone that there is not, BackendUnavailable where its service is down or disabled,
    NotFound for the type, QuotaExceeded. What is wrong with the object is the error of the operation.
    """
    with app.change() as conn:
        pool = find_pool(app, conn, request.host)
        volume_type = usable_type(app, conn, context, request.volume_type)
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"volumes": 1})
        zone = choose_zone(app, conn, request.availability_zone)
        volume = nouns.volumes.insert(conn, _row(context, request, volume_type, pool, zone))
        args = {
            "volume_id": volume.id,
            "ref": request.ref,
            "extra_specs": volume_type.extra_specs,
            "quotas": app.settings.quotas,
        }
        held = locks("volume.manage", volume=volume.id, pool=pool)
        app.operations.admit(conn, operation(app, context, "volume.manage", pool, ("volume", volume.id), held, args))
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


def _measure(run: Run) -> dict[str, int]:
    """Give the row the size of the object (GiB), as far as the project's quota allows it."""
    volume = volume_of(run)
    size = to_gib(backend_of(run).driver.manage_existing_get_size(volume_ref(volume), run.args["ref"]))
    with host_of(run).database.write() as conn:
        _check_quota(run, conn, volume, size)
        nouns.volumes.update(conn, volume.id, size=size)
    return {"size": size}


def _check_quota(run: Run, conn: sa.Connection, volume: Volume, size: int) -> None:
    defaults, more = run.args["quotas"], {"gigabytes": size - volume.size}
    quotas.check_volume_size(conn, volume.project_id, defaults, size)
    quotas.check(host_of(run).database, conn, volume.project_id, defaults, more)


def _manage(run: Run) -> None:
    volume = volume_ref(volume_of(run), extra_specs=run.args["extra_specs"])
    backend_of(run).driver.manage_existing(volume, run.args["ref"], run.id)


def _unmanage(run: Run) -> None:
    backend_of(run).driver.unmanage(volume_ref(volume_of(run)), run.id, run.args["ref"])


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    settling.volume(conn, operation.resource_id, "managing", "available")


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """The row has no object: it takes no gigabytes, and deleting it deletes nothing."""
    settling.volume(conn, operation.resource_id, "managing", "error_managing", size=0)


MANAGE_VOLUME = Kind("volume.manage", (Step("measure", _measure), Step("adopt", _manage, _unmanage)), _succeed, _fail)
