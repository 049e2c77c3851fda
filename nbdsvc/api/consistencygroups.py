"""/consistencygroups, the older API of groups: rows of the same groups, of a type of their own."""

from typing import Any
from uuid import UUID

from fastapi.responses import JSONResponse, Response
from pydantic import ConfigDict, Field

from nbdsvc.api import filters, group_views, paging, strict
from nbdsvc.api.groups import Ids, changes_of
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, LongText, Text, answer
from nbdsvc.groups.consistency_groups import create_consistency_group, get_cgsnapshot, get_consistency_group
from nbdsvc.groups.create_from_source import CreateFromSourceRequest, create_group_from_source
from nbdsvc.groups.delete import delete_group
from nbdsvc.groups.read import list_groups
from nbdsvc.groups.update import update_group

router = strict.router("consistency groups")

# From here on an empty name or description is a change; before it is as if it was not given.
_EMPTY_SINCE = (3, 6)
_SORTABLE = ("id", "name", "status", "created_at", "updated_at", "availability_zone")


class _Open(Body):
    """Clients send their user, project and the status `creating` too, which the service knows better."""

    model_config = ConfigDict(extra="allow")

    name: Text | None = None
    description: LongText | None = None


class NewConsistencyGroup(_Open):
    """A new consistency group; the volume types' names or ids, with commas between them."""

    volume_types: Ids
    availability_zone: Text | None = None


class CreateBody(Body):
    """The body of a create."""

    consistencygroup: NewConsistencyGroup


class FromSource(_Open):
    """A new consistency group from one of two sources."""

    cgsnapshot_id: UUID | None = None
    source_cgid: UUID | None = None


class FromSourceBody(Body):
    """The body of a create from a source."""

    from_source: FromSource = Field(alias="consistencygroup-from-src")


class Changes(_Open):
    """The fields to change; volumes by their ids, with commas between them."""

    add_volumes: Ids | None = None
    remove_volumes: Ids | None = None


class UpdateBody(Body):
    """The body of an update."""

    consistencygroup: Changes


class Deletion(Body):
    """force: with its volumes."""

    force: bool = False


class DeleteBody(Body):
    """The body of a delete."""

    consistencygroup: Deletion = Deletion()


@router.get("/consistencygroups")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's consistency groups, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=False)


@router.post("/consistencygroups", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a consistency group without volumes.

    Errors: 400 badRequest (body or zone); 404 itemNotFound (type); 413 overLimit (quota); 503 serviceUnavailable (no
    backend has what the types demand).
    """
    new = body.consistencygroup
    types = tuple(each.strip() for each in new.volume_types.split(",") if each.strip())
    made = create_consistency_group(
        request.app, request.context, types, new.name, new.description, new.availability_zone or None
    )
    return answer({"consistencygroup": group_views.summary(made)}, 202)


@router.post("/consistencygroups/create_from_src", status_code=202)
def create_from_source(request: CurrentRequest, body: FromSourceBody) -> JSONResponse:
    """Create a consistency group with copies of the volumes of a cgsnapshot or of another consistency group.

    Errors: 400 badRequest (body, status of the source, or a full pool); 404 itemNotFound (source); 413 overLimit (quota);
    503 serviceUnavailable (the backend of the source takes no volumes).
    """
    new = body.from_source
    snapshot, source = (str(each) if each else None for each in (new.cgsnapshot_id, new.source_cgid))
    if snapshot:
        get_cgsnapshot(request.app, request.context, snapshot)
    if source:
        get_consistency_group(request.app, request.context, source)
    wanted = CreateFromSourceRequest(snapshot, source, new.name, new.description)
    made = create_group_from_source(request.app, request.context, wanted)
    return answer({"consistencygroup": group_views.summary(made)}, 202)


@router.get("/consistencygroups/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's consistency groups with all attributes, otherwise as the short list.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=True)


@router.get("/consistencygroups/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a consistency group.

    Errors: 404 itemNotFound (consistency group).
    """
    found = get_consistency_group(request.app, request.context, id)
    return answer({"consistencygroup": group_views.consistency_group(found)})


@router.post("/consistencygroups/{id}/delete", status_code=202)
def delete(request: CurrentRequest, id: str, body: DeleteBody) -> Response:
    """Delete a consistency group; with `force` also its volumes.

    Errors: 400 badRequest (status of the group or of a volume, volumes without force, or snapshots that are left); 404
    itemNotFound (consistency group); 413 overLimit (too many unfinished operations of the project).
    """
    get_consistency_group(request.app, request.context, id)
    delete_group(request.app, request.context, id, with_volumes=body.consistencygroup.force)
    return Response(status_code=202)


@router.put("/consistencygroups/{id}/update", status_code=202)
@router.put("/consistencygroups/{id}", status_code=202, include_in_schema=False)
def update(request: CurrentRequest, id: str, body: UpdateBody) -> Response:
    """Change a consistency group's name or description, from 3.6 also to an empty one, let volumes join it and leave it.

    Errors: 400 badRequest (nothing is given, status of the group or of a volume, a volume that there is not or that does
    not fit); 404 itemNotFound (consistency group); 413 overLimit (too many unfinished operations of the project).
    """
    get_consistency_group(request.app, request.context, id)
    given: dict[str, Any] = body.consistencygroup.model_dump(exclude_unset=True)
    if request.version < _EMPTY_SINCE:
        given = {name: value for name, value in given.items() if value}
    update_group(request.app, request.context, id, changes_of(given))
    return Response(status_code=202)


def _list(request: ApiRequest, *, detail: bool) -> JSONResponse:
    all_tenants, path = request.flag("all_tenants"), "consistencygroups/detail" if detail else "consistencygroups"
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "groups")
    rows = list_groups(request.app, request.context, wanted, page, all_tenants=all_tenants, consistency_groups=True)
    show = group_views.consistency_group if detail else group_views.summary
    links = paging.next_link(request, "consistencygroup", path, page, rows)
    return answer({"consistencygroups": [show(row) for row in rows], **links})
