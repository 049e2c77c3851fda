"""/backups and their actions."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response

from nbdsvc import errors
from nbdsvc.api import backup_views, filters, paging, steps, strict
from nbdsvc.api.actions import Action, perform, plain, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Metadata, Text, answer
from nbdsvc.backups.create import CreateBackupRequest, create_backup
from nbdsvc.backups.delete import delete_backup
from nbdsvc.backups.read import count_backups, get_backup, list_backups, with_dependents
from nbdsvc.backups.reset_status import reset_backup_status
from nbdsvc.backups.restore import restore_backup
from nbdsvc.backups.update import update_backup
from nbdsvc.backups.verify import verify_backup
from nbdsvc.model.entities import Backup

router = strict.router("backups")

_SORTABLE = ("id", "name", "status", "size", "volume_id", "created_at", "updated_at")
_UPDATE_SINCE, _METADATA_SINCE = (3, 9), (3, 43)


class NewBackup(Body):
    """A new backup of a volume or of one of its snapshots; with `force` also of a volume in use."""

    volume_id: Key
    snapshot_id: Key | None = None
    name: Text | None = None
    description: LongText | None = None
    container: Text | None = None
    incremental: bool = False
    force: bool = False
    metadata: Metadata | None = None
    availability_zone: Text | None = None


class CreateBody(Body):
    """The body of a create."""

    backup: NewBackup


class BackupChanges(Body):
    """The fields to change."""

    name: Text | None = None
    description: LongText | None = None
    metadata: Metadata | None = None


class UpdateBody(Body):
    """The body of an update."""

    backup: BackupChanges


class Restore(Body):
    """The volume to restore to; without one a new volume, which gets the name."""

    volume_id: Key | None = None
    name: Text | None = None


class RestoreBody(Body):
    """The body of a restore."""

    restore: Restore


class ResetStatus(Body):
    """The status to force."""

    status: str


@router.post("/backups", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a backup of a volume, or of a snapshot; `incremental`: reuse what the newest backup of the volume has.

    Errors: 400 badRequest (status of volume or snapshot, zone, no backup to build on, a backend that cannot read a volume in
    use); 404 itemNotFound (volume or snapshot); 413 overLimit (quota).
    """
    wanted = body.backup
    _check_metadata(request, wanted.metadata)
    if "availability_zone" in wanted.model_fields_set and request.version < steps.BACKUP_ZONE:
        raise errors.InvalidInput(field="backup.availability_zone", value=None, reason="needs microversion 3.51")
    made = create_backup(
        request.app,
        request.context,
        CreateBackupRequest(
            volume_id=wanted.volume_id,
            snapshot_id=wanted.snapshot_id,
            name=wanted.name,
            description=wanted.description,
            container=wanted.container,
            incremental=wanted.incremental,
            force=wanted.force,
            metadata=wanted.metadata or {},
            availability_zone=wanted.availability_zone or None,
        ),
    )
    return answer({"backup": _short(request, made)}, 202)


def _check_metadata(request: ApiRequest, given: object) -> None:
    if given is not None and request.version < _METADATA_SINCE:
        raise errors.InvalidInput(field="backup.metadata", value=None, reason="needs microversion 3.43")


def _short(request: ApiRequest, row: Backup) -> dict[str, Any]:
    shown = backup_views.summary(row, request.link().rstrip("/"))
    return shown | ({"metadata": row.metadata} if request.version >= _METADATA_SINCE else {})


@router.get("/backups")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's backups, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, "backups", detail=False)


@router.get("/backups/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's backups with all attributes; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, "backups/detail", detail=True)


@router.get("/backups/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a backup.

    Errors: 404 itemNotFound (backup).
    """
    return answer({"backup": _detailed(request, [get_backup(request.app, request.context, id)])[0]})


@router.put("/backups/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Change a backup's name or description; from 3.43 also its metadata. From 3.9.

    Errors: 400 badRequest (none of them is given); 404 itemNotFound (backup, or a version below 3.9).
    """
    request.require(_UPDATE_SINCE)
    changes = body.backup.model_dump(exclude_unset=True)
    _check_metadata(request, changes.get("metadata"))
    if not changes:
        raise errors.InvalidInput(field="backup", value=None, reason="needs name, description or metadata")
    if changes.get("metadata", {}) is None:
        changes["metadata"] = {}
    return answer({"backup": _short(request, update_backup(request.app, request.context, id, **changes))})


@router.delete("/backups/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a backup.

    Errors: 400 badRequest (status, or backups that build on it); 404 itemNotFound (backup); 413 overLimit (too many
    unfinished operations of the project).
    """
    delete_backup(request.app, request.context, id)
    return Response(status_code=202)


@router.post("/backups/{id}/restore", status_code=202)
def restore(request: CurrentRequest, id: str, body: RestoreBody) -> JSONResponse:
    """Restore a backup to a volume that is not in use, all of which is overwritten, or to a new one.

    Errors: 400 badRequest (status of backup or volume, a volume that is too small, or a full pool); 404 itemNotFound
    (backup or volume); 413 overLimit (quota); 503 serviceUnavailable (no backend takes a new volume).
    """
    wanted = body.restore
    volume = restore_backup(request.app, request.context, id, wanted.volume_id or None, wanted.name or None)
    shown = {"backup_id": id, "volume_id": volume.id, "volume_name": volume.name}
    return answer({"restore": shown}, 202)


def _reset(request: ApiRequest, id: str, body: ResetStatus) -> None:
    reset_backup_status(request.app, request.context, id, body.status)


def _force_delete(request: ApiRequest, id: str, _body: Any) -> None:
    delete_backup(request.app, request.context, id, force=True)


ACTIONS = {
    "nbdsvc-verify": Action(plain(verify_backup)),
    "os-reset_status": Action(_reset, ResetStatus),
    "os-force_delete": Action(_force_delete),
}


@router.post("/backups/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a backup: `nbdsvc-verify` (ours: read all of it) or, for administrators, `os-reset_status` or
    `os-force_delete`.

    Errors: 400 badRequest (action or status); 403 forbidden (the caller is no administrator); 404 itemNotFound (backup);
    409 conflictingRequest (an operation works on the backup).
    """
    return await perform(ACTIONS, request, id, body)


def _list(request: ApiRequest, path: str, *, detail: bool) -> JSONResponse:
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "backups")
    rows = list_backups(request.app, request.context, wanted, page, all_tenants=all_tenants)
    base = request.link().rstrip("/")
    shown = _detailed(request, rows) if detail else [backup_views.summary(row, base) for row in rows]
    count = paging.count(request, lambda: count_backups(request.app, request.context, wanted, all_tenants=all_tenants))
    return answer({"backups": shown, **count, **paging.next_link(request, "backups", path, page, rows)})


def _detailed(request: ApiRequest, rows: Sequence[Backup]) -> list[dict[str, Any]]:
    needed, base = with_dependents(request.app, rows), request.link().rstrip("/")
    return [backup_views.backup(row, request.version, base, has_dependents=row.id in needed) for row in rows]
