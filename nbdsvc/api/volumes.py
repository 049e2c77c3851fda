"""/volumes and their metadata."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse, Response
from pydantic import AliasChoices, ConfigDict, Field

from nbdsvc import errors
from nbdsvc import metadata as resource_metadata
from nbdsvc.api import filters, metadata, paging, steps, strict, views
from nbdsvc.api.microversions import Version
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Gib, LongText, Metadata, Text, answer
from nbdsvc.backups.restore import create_volume_of_backup
from nbdsvc.model.entities import Volume
from nbdsvc.volumes import read
from nbdsvc.volumes.create import create_volume
from nbdsvc.volumes.delete import delete_volume
from nbdsvc.volumes.hints import SchedulerHints
from nbdsvc.volumes.new_row import CreateVolumeRequest
from nbdsvc.volumes.update import update_volume

router = strict.router("volumes")

_SORTABLE = (
    "id",
    "name",
    "status",
    "size",
    "host",
    "created_at",
    "updated_at",
    "availability_zone",
    "bootable",
    "volume_type_id",
)


class NewVolume(Body):
    """A new volume. Before microversion 3.53 a field that is not known is ignored, from it on refused."""

    model_config = ConfigDict(extra="allow")

    size: Gib | None = None
    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None
    volume_type: Text | None = None
    snapshot_id: Text | None = None
    source_volid: Text | None = None
    source_replica: Text | None = None
    imageRef: str | None = Field(default=None, max_length=2048)  # noqa: N815 - the API's name
    image_id: str | None = Field(default=None, max_length=2048)
    availability_zone: Text | None = None
    multiattach: bool = False
    metadata: Metadata | None = None
    consistencygroup_id: Text | None = None
    group_id: Text | None = None
    backup_id: Text | None = None


# One id, or a list of ids.
_Ids = Text | Annotated[list[Text], Field(max_length=100)]


class Hints(Body):
    """Scheduler hints. Others than these are ignored, as in Cinder: they may be meant for filters of an operator's own."""

    model_config = ConfigDict(extra="allow")

    same_host: _Ids | None = None
    different_host: _Ids | None = None
    local_to_instance: Text | None = None
    query: Any = None


class CreateBody(Body):
    """The body of a create."""

    volume: NewVolume
    scheduler_hints: Hints | None = Field(
        default=None, validation_alias=AliasChoices("OS-SCH-HNT:scheduler_hints", "scheduler_hints")
    )


class VolumeChanges(Body):
    """The fields to change."""

    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None
    metadata: Metadata | None = None


class UpdateBody(Body):
    """The body of an update."""

    volume: VolumeChanges


@router.post("/volumes", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a volume: empty, or from an image, a snapshot, another volume or, from 3.47, a backup.

    Errors: 400 badRequest (body, sizes, zone, image, hints, status of the source, or a full pool); 404 itemNotFound (type,
    image, snapshot, volume, backup, instance of a hint, or group); 413 overLimit (quota); 503 serviceUnavailable (no
    backend is up, takes new volumes and has what type and hints demand).
    """
    wanted = body.volume
    _check(request, wanted)
    new_volume = CreateVolumeRequest(
        size=wanted.size,
        name=wanted.name if wanted.name is not None else wanted.display_name,
        description=wanted.description if wanted.description is not None else wanted.display_description,
        volume_type=wanted.volume_type or None,
        snapshot_id=wanted.snapshot_id or None,
        source_volid=wanted.source_volid or None,
        source_replica=wanted.source_replica or None,
        image=wanted.imageRef or wanted.image_id or None,
        boot_snapshots=request.version >= steps.NOVA_IMAGE,
        availability_zone=wanted.availability_zone or None,
        multiattach=wanted.multiattach,
        metadata=wanted.metadata or {},
        hints=_hints(body.scheduler_hints or Hints()),
        group_id=wanted.group_id or None,
        consistencygroup_id=wanted.consistencygroup_id or None,
        backup_id=wanted.backup_id or None,
    )
    made, related = _create(request, new_volume)
    return answer({"volume": show_volumes(request, [made], related)[0]}, 202)


def _create(request: ApiRequest, wanted: CreateVolumeRequest) -> tuple[Volume, read.Related]:
    if wanted.backup_id is not None:
        return create_volume_of_backup(request.app, request.context, wanted.backup_id, wanted)
    return create_volume(request.app, request.context, wanted)


def _hints(given: Hints) -> SchedulerHints:
    if given.query is not None:
        reason = "queries are not supported: they would tell how much is free on which backend"
        raise errors.InvalidInput(field="scheduler_hints.query", value=None, reason=reason)
    same, different = (
        tuple([ids] if isinstance(ids, str) else ids or ()) for ids in (given.same_host, given.different_host)
    )
    return SchedulerHints(same, different, given.local_to_instance)


def _check(request: ApiRequest, wanted: NewVolume) -> None:
    """Raise InvalidInput or NotFound for a field that would be ignored."""
    unknown = sorted(wanted.model_extra or {})
    if unknown and request.version >= steps.STRICT:
        raise errors.InvalidInput(field=unknown[0][:80], value=None, reason="there is no such field")
    if wanted.backup_id and request.version < steps.BACKUP_SOURCE:  # not ignored: no volume is empty by mistake
        raise errors.InvalidInput(field="volume.backup_id", value=None, reason="there is no such field before 3.47")


@router.get("/volumes")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's volumes, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    base = request.link()
    return _list(request, "volumes", lambda rows: [views.volume_summary(row, base.rstrip("/")) for row in rows])


@router.get("/volumes/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's volumes with all attributes; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, "volumes/detail", lambda rows: show_volumes(request, rows, extras=True))


@router.get("/volumes/summary")
def summary(request: CurrentRequest) -> JSONResponse:
    """Show the number of volumes and their GiB; from 3.36 also their metadata. From 3.12.

    Errors: 400 badRequest (from 3.31, an unknown filter); 404 itemNotFound (a version below 3.12).
    """
    request.require((3, 12))
    all_tenants = request.flag("all_tenants")
    rows = read.list_volumes(request.app, request.context, filters.parse(request, "volumes"), all_tenants=all_tenants)
    total: dict[str, Any] = {"total_size": sum(row.size for row in rows), "total_count": len(rows)}
    if request.version >= (3, 36):
        merged: dict[str, list[str]] = {}
        for row in rows:
            for key, value in row.metadata.items():
                merged[key] = sorted({*merged.get(key, []), value})
        total["metadata"] = merged
    return answer({"volume-summary": total})


@router.get("/volumes/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a volume.

    Errors: 404 itemNotFound (volume).
    """
    return answer(
        {"volume": show_volumes(request, [read.get_volume(request.app, request.context, id)], extras=True)[0]}
    )


@router.put("/volumes/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Change a volume's name, description or metadata.

    Errors: 400 badRequest (from 3.53, none of them is given); 404 itemNotFound (volume).
    """
    given = body.volume.model_dump(exclude_unset=True)
    changes = {key.removeprefix("display_"): value for key, value in given.items()}
    if not changes and request.version >= steps.STRICT:
        raise errors.InvalidInput(
            field="volume", value=None, reason="needs at least one of name, description, metadata"
        )
    if changes.get("metadata", {}) is None:
        changes["metadata"] = {}
    made = update_volume(request.app, request.context, id, **changes)
    return answer({"volume": show_volumes(request, [made])[0]})


@router.delete("/volumes/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a volume; with `cascade` also its snapshots; from 3.23, for an administrator, with `force` in any status.

    Errors: 400 badRequest (status, attachments, or snapshots without cascade); 403 forbidden (force); 404 itemNotFound
    (volume); 413 overLimit (too many unfinished operations of the project).
    """
    force = request.version >= (3, 23) and request.flag("force")
    if force:
        request.permissions.enforce("volume:force_delete")
    delete_volume(request.app, request.context, id, cascade=request.flag("cascade"), force=force)
    return Response(status_code=202)


def show_volumes(
    request: ApiRequest,
    rows: list[Volume],
    related: read.Related | None = None,
    *,
    extras: bool = False,
    version: Version | None = None,
) -> list[dict[str, Any]]:
    """Views of many rows with two more queries, not two each. `version`: another than the request's."""
    related = related or read.related_to(request.app, rows)
    base = request.link().rstrip("/")
    shown = []
    for row in rows:
        view = views.volume(row, related, request.context, version or request.version, base)
        view |= views.volume_extras(row, request.context) if extras else {}
        shown.append(view)
    return shown


def _list(request: ApiRequest, path: str, show: Any) -> JSONResponse:
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "volumes")
    rows = read.list_volumes(request.app, request.context, wanted, page, all_tenants=all_tenants)
    count = paging.count(
        request, lambda: read.count_volumes(request.app, request.context, wanted, all_tenants=all_tenants)
    )
    return answer({"volumes": show(rows), **count, **paging.next_link(request, "volumes", path, page, rows)})


metadata.add_routes(router, "volumes", resource_metadata.VOLUME)
