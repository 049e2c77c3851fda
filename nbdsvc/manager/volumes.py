"""Volumes: create, delete, extend, change. Each checks everything it can before anything is written."""

from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.images.http import url
from nbdsvc.manager import ending, placement, types, zones
from nbdsvc.manager.app import App, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.model.operation import Operation
from nbdsvc.store import nouns, quotas, secrets, tables
from nbdsvc.store import operations as journal

# The property by which an image names the volume type of volumes made of it.
_IMAGE_TYPE = "cinder_img_volume_type"


@dataclass(frozen=True)
class CreateVolume:
    """A wish for a volume. At most one of snapshot_id, source_volid and image; size (GiB) may follow from the source."""

    size: int | None = None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    image: str | None = None
    availability_zone: str | None = None
    multiattach: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


def create(app: App, context: Context, wish: CreateVolume) -> Volume:
    """Admit a new volume: row, quota and operation in one transaction."""
    if sum(source is not None for source in (wish.snapshot_id, wish.source_volid, wish.image)) > 1:
        raise errors.InvalidInput(
            field="volume", value=None, reason="only one of snapshot_id, source_volid and imageRef may be given"
        )
    if wish.image is not None and app.images:
        wish = replace(wish, image=app.images.resolve(wish.image, context))
    reference, wish = wish.image, replace(wish, image=_public(wish.image))
    with app.change() as conn:
        origin = _origin(app, conn, context, wish)
        volume_type = _type(app, conn, context, wish, origin)
        zone = _zone(app, conn, wish, origin)
        size = _size(wish, origin)
        _check_quota(app, conn, context, size)
        host = origin.host if origin else placement.choose(app, conn, size, zone)
        if origin:
            placement.check_growth(app, conn, host, size)
        volume = nouns.volumes.insert(conn, _row(context, wish, volume_type, origin, size, host, zone))
        admitted = app.operations.admit(conn, _creation(app, context, volume, wish))
        if reference is not None and reference != wish.image:
            secrets.keep(conn, admitted.id, reference)
    return volume


def _public(reference: str | None) -> str | None:
    """A reference as rows keep it: of a URL neither user and password nor the query, which may be a signature."""
    if reference is None or not url.is_http(reference):
        return reference
    address, mark, disk = reference.partition("#")
    return url.parse(address).shown + mark + disk


def delete(app: App, context: Context, id: str, *, cascade: bool = False, force: bool = False) -> None:
    """Admit the end of a volume; with `cascade` its snapshots go first. By force again while it goes on: nothing more."""
    rule = states.VOLUME["force delete" if force else "delete"]
    with app.change() as conn:
        app.database.lock_name(conn, f"delete-{id}")
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if force and volume.status == "deleting" and journal.busy(conn, id):
            return
        attached = [
            a
            for a in nouns.attachments_of(conn, id)
            if a.status != "detached" and not (a.legacy and a.status == "attaching")
        ]
        snapshots = nouns.snapshots_of(conn, id)
        if attached and not force:
            raise errors.InvalidState(
                resource="Volume",
                id=id,
                action="delete",
                status=f"{volume.status} with attachments",
                allowed=rule.allowed(),
            )
        if snapshots and not cascade:
            raise errors.InvalidInput(
                field="volume", value=id, reason=f"it has {len(snapshots)} snapshots; delete them or use cascade"
            )
        nouns.volumes.transition(conn, id, rule.sources, "deleting", action="delete", previous_status=volume.status)
        for snapshot in snapshots:
            nouns.snapshots.transition(
                conn, snapshot.id, states.SNAPSHOT["delete"].sources, "deleting", action="delete"
            )
        # The deletion waits for copies that read the volume; whoever could reach it, cannot from now on.
        exported = [found for found in nouns.attachments_of(conn, id) if found.connector is not None]
        if exported:
            ending.admit_all(app, conn, context, volume, exported, "deleting")
        snapshot_ids = [snapshot.id for snapshot in snapshots]
        attachment_ids = [found.id for found in nouns.attachments_of(conn, id)]
        held = locks("volume.delete", volume=id, snapshot=snapshot_ids, attachment=attachment_ids)
        # A volume that could not be taken over has no object of its own: what its reference named stays as it is.
        keep = volume.status == "error_managing"
        args = {"volume_id": id, "snapshot_ids": snapshot_ids, "keep": keep}
        app.operations.admit(conn, operation(app, context, "volume.delete", volume.host, ("volume", id), held, args))


def extend(app: App, context: Context, id: str, new_size: int, *, online: bool) -> None:
    """Admit growth to `new_size` GiB; `online`: also while it is in use (microversion 3.42)."""
    rule = states.VOLUME["extend online" if online else "extend"]
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if new_size <= volume.size:
            raise errors.InvalidInput(
                field="new_size", value=new_size, reason=f"must be greater than the current size of {volume.size} GiB"
            )
        limit = quotas.limits(conn, volume.project_id, app.settings.quotas)["per_volume_gigabytes"]
        check_size_limit(limit, new_size)
        wanted = {"gigabytes": new_size - volume.size}
        quotas.check(app.database, conn, volume.project_id, app.settings.quotas, wanted)
        placement.check_growth(app, conn, volume.host, new_size - volume.size)
        nouns.volumes.transition(
            conn, id, rule.sources, "extending", action="extend", target_size=new_size, previous_status=volume.status
        )
        args = {"volume_id": id, "new_size": new_size}
        held = locks("volume.extend", volume=id)
        app.operations.admit(conn, operation(app, context, "volume.extend", volume.host, ("volume", id), held, args))


def update(app: App, context: Context, id: str, **changes: Any) -> Volume:
    """Change what needs no work: name, description, metadata, flags."""
    with app.change() as conn:
        nouns.volumes.get(conn, id, owner_scope(context))
        nouns.volumes.update(conn, id, **changes)
        return nouns.volumes.get(conn, id)


def set_readonly(app: App, context: Context, id: str, *, readonly: bool) -> None:
    """InvalidState unless the volume is available: whoever has it attached would write on."""
    rule = states.VOLUME["update readonly flag"]
    with app.change() as conn:
        nouns.volumes.get(conn, id, owner_scope(context))
        action = "have its read-only flag updated"
        nouns.volumes.transition(conn, id, rule.sources, "available", action=action, readonly=readonly)


def reset_status(app: App, context: Context, id: str, changes: dict[str, str]) -> None:
    """An administrator's explicit word on what the rows say. Refused while an operation works on the volume.

    attach_status `detached` ends every attachment for real: exports go, then rows. The rows alone are never edited.
    """
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id)
        if journal.busy(conn, id):
            raise errors.Conflict(reason=f"an operation on volume {id} is under way; cancel it instead")
        attachments = nouns.attachments_of(conn, id)
        if changes.get("status") == "in-use" and not attachments:
            raise errors.InvalidInput(field="status", value="in-use", reason="the volume has no attachments")
        if "migration_status" in changes:
            nouns.volumes.update(conn, id, migration_status=changes["migration_status"])
        nouns.volumes.force_status(conn, id, changes.get("status", volume.status), target_size=None)
        if changes.get("attach_status") == "detached":
            ending.admit_all(app, conn, context, volume, attachments, changes.get("status"))


def type_of(app: App, conn: sa.Connection, context: Context, wanted: str | None) -> VolumeType:
    """The type that a creation names, or the default one; NotFound where this project may not use it."""
    if wanted is None:
        return types.default_in(app, conn)
    found = nouns.volume_type(conn, wanted)
    if not (found.is_public or context.is_admin or context.project_id in found.projects):
        raise errors.NotFound(resource="VolumeType", id=wanted)
    return found


@dataclass(frozen=True)
class _Origin:
    host: str
    zone: str
    type_id: str | None
    size: int
    bootable: bool
    image_metadata: dict[str, str]


def _origin(app: App, conn: sa.Connection, context: Context, wish: CreateVolume) -> _Origin | None:
    """What the new volume is made of, if that is a snapshot or a volume, in a status that allows it."""
    scope = owner_scope(context)
    if wish.snapshot_id is not None:
        snapshot = nouns.snapshots.get(conn, wish.snapshot_id, scope)
        _require("Snapshot", snapshot.id, snapshot.status, {"available"})
        volume = nouns.volumes.get(conn, snapshot.volume_id)
        return _Origin(
            volume.host,
            volume.availability_zone,
            volume.volume_type_id,
            snapshot.volume_size,
            volume.bootable,
            volume.image_metadata,
        )
    if wish.source_volid is not None:
        volume = nouns.volumes.get(conn, wish.source_volid, scope)
        instant = placement.instant_clone(conn, volume.host)
        _require("Volume", volume.id, volume.status, set(states.CLONE_SOURCE) if instant else {"available"})
        return _Origin(
            volume.host,
            volume.availability_zone,
            volume.volume_type_id,
            volume.size,
            volume.bootable,
            volume.image_metadata,
        )
    return None


def _type(app: App, conn: sa.Connection, context: Context, wish: CreateVolume, origin: _Origin | None) -> VolumeType:
    """The type that the creation names, else its source's: a snapshot's or volume's own, or what an image asks for."""
    if wish.volume_type is None and origin and origin.type_id:
        return nouns.volume_types.get(conn, origin.type_id)
    named = wish.volume_type
    if named is None and wish.image is not None and app.images:
        named = app.images.properties(wish.image, context).get(_IMAGE_TYPE)
    return type_of(app, conn, context, named)


def _zone(app: App, conn: sa.Connection, wish: CreateVolume, origin: _Origin | None) -> str:
    """Where its source is, for the bytes are there; else where the creation says."""
    if origin is None:
        return zones.choose(app, conn, wish.availability_zone)
    if wish.availability_zone not in (None, origin.zone):
        raise errors.InvalidInput(
            field="availability_zone", value=wish.availability_zone, reason=f"its source is in zone {origin.zone}"
        )
    return origin.zone


def _require(noun: str, id: str, status: str, allowed: set[str]) -> None:
    if status not in allowed:
        raise errors.InvalidState(resource=noun, id=id, action="be copied", status=status, allowed=sorted(allowed))


def _size(wish: CreateVolume, origin: _Origin | None) -> int:
    size = wish.size if wish.size is not None else (origin.size if origin else None)
    if size is None:
        raise errors.InvalidInput(field="size", value=None, reason="a new volume needs a size")
    if origin and size < origin.size:
        raise errors.InvalidInput(
            field="size", value=size, reason=f"must not be smaller than its source's {origin.size} GiB"
        )
    return size


def _check_quota(app: App, conn: sa.Connection, context: Context, size: int) -> None:
    wanted = {"volumes": 1, "gigabytes": size}
    quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
    limit = quotas.limits(conn, context.project_id, app.settings.quotas)["per_volume_gigabytes"]
    check_size_limit(limit, size)


def check_size_limit(limit: int, size: int) -> None:
    if limit != quotas.UNLIMITED and size > limit:
        raise errors.QuotaExceeded(resource="per_volume_gigabytes", limit=limit, used=0, requested=size)


def _row(
    context: Context,
    wish: CreateVolume,
    volume_type: VolumeType,
    origin: _Origin | None,
    size: int,
    host: str,
    zone: str,
) -> Volume:
    return Volume(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        size=size,
        status="creating",
        host=host,
        name=wish.name,
        description=wish.description,
        availability_zone=zone,
        volume_type_id=volume_type.id,
        snapshot_id=wish.snapshot_id,
        source_volid=wish.source_volid,
        image_id=wish.image,
        bootable=bool(origin and origin.bootable),
        multiattach=wish.multiattach or volume_type.multiattach,
        metadata=wish.metadata,
        image_metadata=origin.image_metadata if origin else {},
    )


def _creation(app: App, context: Context, volume: Volume, wish: CreateVolume) -> Operation:
    # Shared with other clones of the source, but not with its deletion nor with an attach that could write to it.
    held = locks("volume.create", volume=volume.id, snapshot=wish.snapshot_id, source=wish.source_volid)
    args = {
        "volume_id": volume.id,
        "snapshot_id": wish.snapshot_id,
        "source_volid": wish.source_volid,
        "image": wish.image,
        "image_resolved": app.images is not None,
    }
    return operation(app, context, "volume.create", volume.host, ("volume", volume.id), held, args)


def listing(conn: sa.Connection, project_id: str | None) -> list[Any]:
    """The condition for a project's volumes; None: everybody's."""
    return [tables.volumes.c.project_id == project_id] if project_id is not None else []
