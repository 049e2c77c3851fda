"""/cgsnapshots, the older API of group snapshots: rows of the same group snapshots, of consistency groups."""

from uuid import UUID

from fastapi.responses import JSONResponse, Response
from pydantic import ConfigDict

from nbdsvc.api import filters, group_views, paging, strict
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, LongText, Text, answer
from nbdsvc.groups.consistency_groups import get_cgsnapshot, get_consistency_group
from nbdsvc.groups.snapshots.create import create_group_snapshot
from nbdsvc.groups.snapshots.delete import delete_group_snapshot
from nbdsvc.groups.snapshots.read import list_group_snapshots

router = strict.router("cgsnapshots")

_SORTABLE = ("id", "name", "status", "created_at", "updated_at")


class NewCgSnapshot(Body):
    """The consistency group, and how its snapshot is to be called. Other fields that clients send are ignored."""

    model_config = ConfigDict(extra="allow")

    consistencygroup_id: UUID
    name: Text | None = None
    description: LongText | None = None


class CreateBody(Body):
    """The body of a create."""

    cgsnapshot: NewCgSnapshot


@router.get("/cgsnapshots")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's cgsnapshots, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=False)


@router.post("/cgsnapshots", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Take a snapshot of every volume of a consistency group, also of volumes in use: all of one moment.

    Errors: 400 badRequest (status of the group or of a volume, a group without volumes, or a backend that cannot do that);
    404 itemNotFound (consistency group); 413 overLimit (quota).
    """
    new = body.cgsnapshot
    group = get_consistency_group(request.app, request.context, str(new.consistencygroup_id))
    made = create_group_snapshot(request.app, request.context, group.id, new.name, new.description)
    return answer({"cgsnapshot": group_views.summary(made)}, 202)


@router.get("/cgsnapshots/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's cgsnapshots with all attributes, otherwise as the short list.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=True)


@router.get("/cgsnapshots/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a cgsnapshot.

    Errors: 404 itemNotFound (cgsnapshot).
    """
    return answer({"cgsnapshot": group_views.cgsnapshot(get_cgsnapshot(request.app, request.context, id))})


@router.delete("/cgsnapshots/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a cgsnapshot with its snapshots.

    Errors: 400 badRequest (status, or a group that is being made of it); 404 itemNotFound (cgsnapshot); 413 overLimit (too
    many unfinished operations of the project).
    """
    get_cgsnapshot(request.app, request.context, id)
    delete_group_snapshot(request.app, request.context, id)
    return Response(status_code=202)


def _list(request: ApiRequest, *, detail: bool) -> JSONResponse:
    all_tenants, path = request.flag("all_tenants"), "cgsnapshots/detail" if detail else "cgsnapshots"
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "group_snapshots")
    rows = list_group_snapshots(
        request.app, request.context, wanted, page, all_tenants=all_tenants, consistency_groups=True
    )
    show = group_views.cgsnapshot if detail else group_views.summary
    links = paging.next_link(request, "cgsnapshot", path, page, rows)
    return answer({"cgsnapshots": [show(row) for row in rows], **links})
