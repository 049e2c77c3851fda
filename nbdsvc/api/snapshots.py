"""/snapshots, their metadata and actions."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc import metadata as resource_metadata
from nbdsvc.api import filters, metadata, paging, steps, strict, views
from nbdsvc.api.actions import Action, perform, plain, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, LongText, Metadata, Text, answer
from nbdsvc.snapshots.create import CreateSnapshotRequest, create_snapshot
from nbdsvc.snapshots.delete import delete_snapshot
from nbdsvc.snapshots.read import count_snapshots, get_snapshot, list_snapshots
from nbdsvc.snapshots.reset_status import reset_snapshot_status
from nbdsvc.snapshots.unmanage import unmanage_snapshot
from nbdsvc.snapshots.update import update_snapshot
from nbdsvc.snapshots.update_status import update_snapshot_status

router = strict.router("snapshots")

_SORTABLE = ("id", "name", "status", "created_at", "updated_at", "volume_id", "volume_size")


class NewSnapshot(Body):
    """A new snapshot; before 3.66 only with `force` of a volume in use, from it on always, and `force` is true or absent."""

    volume_id: Text | None
    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None
    force: bool = False
    metadata: Metadata | None = None


class CreateBody(Body):
    """The body of a create."""

    snapshot: NewSnapshot


class SnapshotChanges(Body):
    """The fields to change."""

    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None


class UpdateBody(Body):
    """The body of an update."""

    snapshot: SnapshotChanges


class ResetStatus(Body):
    """The status to force."""

    status: str


class ReportedStatus(Body):
    """What a hypervisor reports of a snapshot that it makes or removes: status and progress (`n%`)."""

    status: Text
    progress: Annotated[Text, Field(pattern=r"^(100|[0-9]{1,2})%$")] | None = None


@router.post("/snapshots", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a snapshot of a volume; before 3.66 only with `force` of one that is in use.

    Errors: 400 badRequest (status of the volume, from 3.66 a false `force`, or a backend that has no snapshots, or takes
    none in use); 404 itemNotFound (volume); 413 overLimit (quota).
    """
    wanted = body.snapshot
    if wanted.volume_id is None:
        raise errors.NotFound(resource="Volume", id="None")
    new_snapshot = CreateSnapshotRequest(
        wanted.volume_id,
        wanted.name if wanted.name is not None else wanted.display_name,
        wanted.description if wanted.description is not None else wanted.display_description,
        wanted.metadata or {},
        force=_may_be_in_use(request, wanted),
    )
    made = create_snapshot(request.app, request.context, new_snapshot)
    return answer({"snapshot": views.snapshot(made, request.version)}, 202)


def _may_be_in_use(request: ApiRequest, wanted: NewSnapshot) -> bool:
    if request.version < steps.SNAPSHOT_IN_USE:
        return wanted.force
    if "force" in wanted.model_fields_set and not wanted.force:
        raise errors.InvalidInput(field="snapshot.force", value="false", reason="from 3.66 it may only be true")
    return True


@router.get("/snapshots")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's snapshots, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, "snapshots", detail=False)


@router.get("/snapshots/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's snapshots with all attributes; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, "snapshots/detail", detail=True)


@router.get("/snapshots/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a snapshot.

    Errors: 404 itemNotFound (snapshot).
    """
    return answer(
        {"snapshot": views.snapshot(get_snapshot(request.app, request.context, id), request.version, extras=True)}
    )


@router.put("/snapshots/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Change a snapshot's name or description.

    Errors: 400 badRequest (neither is given); 404 itemNotFound (snapshot).
    """
    given = body.snapshot.model_dump(exclude_unset=True)
    changes = {key.removeprefix("display_"): value for key, value in given.items()}
    if not changes:
        raise errors.InvalidInput(field="snapshot", value=None, reason="needs name or description")
    made = update_snapshot(request.app, request.context, id, **changes)
    return answer({"snapshot": views.snapshot(made, request.version)})


@router.delete("/snapshots/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a snapshot.

    Errors: 400 badRequest (status); 404 itemNotFound (snapshot); 413 overLimit (too many unfinished operations of the
    project).
    """
    delete_snapshot(request.app, request.context, id)
    return Response(status_code=202)


def _reset(request: ApiRequest, id: str, body: ResetStatus) -> None:
    reset_snapshot_status(request.app, request.context, id, body.status)


def _force_delete(request: ApiRequest, id: str, _body: Any) -> None:
    delete_snapshot(request.app, request.context, id, force=True)


def _report(request: ApiRequest, id: str, body: ReportedStatus) -> None:
    update_snapshot_status(request.app, request.context, id, body.status, body.progress)


ACTIONS = {
    "os-update_snapshot_status": Action(_report, ReportedStatus),
    "os-reset_status": Action(_reset, ResetStatus),
    "os-force_delete": Action(_force_delete),
    "os-unmanage": Action(plain(unmanage_snapshot)),
}


@router.post("/snapshots/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a snapshot: `os-update_snapshot_status` or, for administrators, `os-reset_status`,
    `os-force_delete` or `os-unmanage`.

    Errors: 400 badRequest (action, status, or a driver that unmanages nothing); 403 forbidden (the caller is no
    administrator); 404 itemNotFound (snapshot); 409 conflictingRequest (an operation works on the snapshot).
    """
    return await perform(ACTIONS, request, id, body)


def _list(request: ApiRequest, path: str, *, detail: bool) -> JSONResponse:
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "snapshots")
    rows = list_snapshots(request.app, request.context, wanted, page, all_tenants=all_tenants)
    if detail:
        shown = [views.snapshot(row, request.version, extras=True) for row in rows]
    else:
        shown = [views.snapshot_summary(row) for row in rows]
    count = paging.count(
        request, lambda: count_snapshots(request.app, request.context, wanted, all_tenants=all_tenants)
    )
    return answer({"snapshots": shown, **count, **paging.next_link(request, "snapshots", path, page, rows)})


metadata.add_routes(router, "snapshots", resource_metadata.SNAPSHOT)
