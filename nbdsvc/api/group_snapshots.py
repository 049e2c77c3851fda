"""/group_snapshots, from microversion 3.14: the snapshots of all volumes of a group, of one moment."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response

from nbdsvc.api import filters, group_views, paging, strict
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, LongText, Text, answer
from nbdsvc.groups.reset_status import reset_group_snapshot_status
from nbdsvc.groups.snapshots.create import create_group_snapshot
from nbdsvc.groups.snapshots.delete import delete_group_snapshot
from nbdsvc.groups.snapshots.read import get_group_snapshot, list_group_snapshots

router = strict.router("group snapshots")

_SINCE, _RESET, _FILTERS = (3, 14), (3, 19), (3, 29)
_SORTABLE = ("id", "name", "status", "group_id", "group_type_id", "created_at", "updated_at")


class NewGroupSnapshot(Body):
    """The group, and how its snapshot is to be called."""

    group_id: UUID
    name: Text | None = None
    description: LongText | None = None


class CreateBody(Body):
    """The body of a create."""

    group_snapshot: NewGroupSnapshot


class ResetStatus(Body):
    """The status to force."""

    status: Text


@router.post("/group_snapshots", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Take a snapshot of every volume of a group, also of volumes in use: all of one moment. From 3.14.

    Errors: 400 badRequest (status of the group or of a volume, a group without volumes, or a backend that cannot do that);
    404 itemNotFound (group, or a version below 3.14); 413 overLimit (quota).
    """
    request.require(_SINCE)
    new = body.group_snapshot
    made = create_group_snapshot(request.app, request.context, str(new.group_id), new.name, new.description)
    return answer({"group_snapshot": group_views.group_snapshot_summary(made)}, 202)


@router.get("/group_snapshots")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's group snapshots, in short; with `all_tenants`, for an administrator, of every project. From 3.14;
    filters from 3.29.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker, or a version below
    3.14).
    """
    return _list(request, detail=False)


@router.get("/group_snapshots/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's group snapshots with all attributes, otherwise as the short list. From 3.14.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker, or a version below
    3.14).
    """
    return _list(request, detail=True)


@router.get("/group_snapshots/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a group snapshot. From 3.14.

    Errors: 404 itemNotFound (group snapshot, or a version below 3.14).
    """
    request.require(_SINCE)
    found = get_group_snapshot(request.app, request.context, id)
    return answer({"group_snapshot": group_views.group_snapshot(found, request.version)})


@router.delete("/group_snapshots/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a group snapshot with its snapshots. From 3.14.

    Errors: 400 badRequest (status, or a group that is being made of it); 404 itemNotFound (group snapshot, or a version
    below 3.14); 413 overLimit (too many unfinished operations of the project).
    """
    request.require(_SINCE)
    delete_group_snapshot(request.app, request.context, id)
    return Response(status_code=202)


def _reset(request: ApiRequest, id: str, body: ResetStatus) -> None:
    reset_group_snapshot_status(request.app, request.context, id, body.status)


ACTIONS = {"reset_status": Action(_reset, ResetStatus, since=_RESET)}


@router.post("/group_snapshots/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run the action `reset_status` on a group snapshot, for administrators. From 3.19.

    Errors: 400 badRequest (action or status); 403 forbidden (the caller is no administrator); 404 itemNotFound (group
    snapshot, or a version below 3.19); 409 conflictingRequest (an operation works on the group snapshot).
    """
    return await perform(ACTIONS, request, id, body)


def _list(request: ApiRequest, *, detail: bool) -> JSONResponse:
    request.require(_SINCE)
    all_tenants, path = request.flag("all_tenants"), "group_snapshots/detail" if detail else "group_snapshots"
    page = paging.page(request, _SORTABLE)
    wanted = filters.parse(request, "group_snapshots") if request.version >= _FILTERS else []
    rows = list_group_snapshots(request.app, request.context, wanted, page, all_tenants=all_tenants)
    links = paging.next_link(request, "group_snapshot", path, page, rows)
    shown = [
        group_views.group_snapshot(row, request.version) if detail else group_views.group_snapshot_summary(row)
        for row in rows
    ]
    return answer({"group_snapshots": shown, **links})
