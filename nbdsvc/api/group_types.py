"""/group_types, from microversion 3.11: group types, group specs, access."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import group_views, paging, strict
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Metadata, answer
from nbdsvc.groups.types.access import add_group_type_access, remove_group_type_access
from nbdsvc.groups.types.change import create_group_type, delete_group_type, update_group_type
from nbdsvc.groups.types.queries import default_group_type, get_group_type, list_group_types
from nbdsvc.groups.types.specs import edit_group_specs

router = strict.router("group types")

_SINCE = (3, 11)
_SORTABLE = ("id", "name", "created_at", "updated_at", "is_public")


class NewGroupType(Body):
    """A new group type."""

    name: Key
    description: LongText | None = None
    is_public: bool = True
    group_specs: Metadata | None = None


class CreateBody(Body):
    """The body of a create."""

    group_type: NewGroupType


class GroupTypeChanges(Body):
    """The fields to change."""

    name: Key | None = None
    description: LongText | None = None
    is_public: bool | None = None


class UpdateBody(Body):
    """The body of an update."""

    group_type: GroupTypeChanges


class SpecsBody(Body):
    """Group specs to set."""

    group_specs: Annotated[Metadata, Field(min_length=1)]


class Access(Body):
    """The project that may use the type, or may no more."""

    project: Key


@router.get("/group_types")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the group types that the project may use. From 3.11.

    Errors: 400 badRequest (is_public, sort or limit); 404 itemNotFound (marker, or a version below 3.11).
    """
    request.require(_SINCE)
    rows = list_group_types(request.app, request.context)
    wanted = request.query.get("is_public")
    if wanted not in (None, "None", "none"):
        public = request.flag("is_public")
        rows = [row for row in rows if row.is_public == public]
    page = paging.page(request, _SORTABLE)
    rows = paging.cut(rows, page, "GroupType")
    shown = [group_views.group_type(row, request.context) for row in rows]
    return answer({"group_types": shown, **paging.next_link(request, "group_type", "group_types", page, rows)})


@router.post("/group_types", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a group type. For administrators, from 3.11.

    Errors: 400 badRequest (body); 403 forbidden (the caller is no administrator); 404 itemNotFound (a version below
    3.11); 409 conflictingRequest (the name is taken).
    """
    request.require(_SINCE)
    new = body.group_type
    made = create_group_type(request.app, new.name, new.description, new.is_public, new.group_specs or {})
    return answer({"group_type": group_views.group_type(made, request.context)}, 202)


@router.get("/group_types/default")
def default(request: CurrentRequest) -> JSONResponse:
    """Show the group type that the administrator made the default one. From 3.11.

    Errors: 404 itemNotFound (there is none, or a version below 3.11).
    """
    request.require(_SINCE)
    found = default_group_type(request.app, request.context)
    return answer({"group_type": group_views.group_type(found, request.context)})


@router.get("/group_types/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a group type, by id or name. From 3.11.

    Errors: 404 itemNotFound (type, or a version below 3.11).
    """
    request.require(_SINCE)
    found = get_group_type(request.app, request.context, id)
    return answer({"group_type": group_views.group_type(found, request.context)})


@router.put("/group_types/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Change a group type's name, description or is_public. For administrators, from 3.11.

    Errors: 400 badRequest (none of them is given, or the type of consistency groups); 403 forbidden (the caller is no
    administrator); 404 itemNotFound (type, or a version below 3.11); 409 conflictingRequest (the name is taken).
    """
    request.require(_SINCE)
    changes = body.group_type.model_dump(exclude_none=True)
    if not changes:
        raise errors.InvalidInput(field="group_type", value=None, reason="needs name, description or is_public")
    made = update_group_type(request.app, id, **changes)
    return answer({"group_type": group_views.group_type(made, request.context)})


@router.delete("/group_types/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a group type. For administrators, from 3.11.

    Errors: 400 badRequest (groups have it, or it is the default or that of consistency groups); 403 forbidden (the caller
    is no administrator); 404 itemNotFound (type, or a version below 3.11).
    """
    request.require(_SINCE)
    delete_group_type(request.app, id)
    return Response(status_code=202)


@router.get("/group_types/{id}/group_specs")
def group_specs(request: CurrentRequest, id: str) -> JSONResponse:
    """List the group specs of a group type. For administrators, from 3.11.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type, or a version below 3.11).
    """
    return answer({"group_specs": _specs(request, id)})


@router.post("/group_types/{id}/group_specs", status_code=202)
def set_group_specs(request: CurrentRequest, id: str, body: SpecsBody) -> JSONResponse:
    """Set group specs and keep the others. For administrators, from 3.11.

    Errors: 400 badRequest (body, or the type of consistency groups); 403 forbidden (the caller is no administrator); 404
    itemNotFound (type, or a version below 3.11).
    """
    request.require(_SINCE)
    edit_group_specs(request.app, id, dict(body.group_specs))
    return answer({"group_specs": body.group_specs}, 202)


@router.get("/group_types/{id}/group_specs/{key}")
def group_spec(request: CurrentRequest, id: str, key: str) -> JSONResponse:
    """Show one group spec. For administrators, from 3.11.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type or key, or a version below 3.11).
    """
    found = _specs(request, id)
    if key not in found:
        raise errors.NotFound(resource="Group spec", id=key)
    return answer({key: found[key]})


@router.put("/group_types/{id}/group_specs/{key}")
def set_group_spec(request: CurrentRequest, id: str, key: str, body: Annotated[Metadata, Json()]) -> JSONResponse:
    """Set one group spec. For administrators, from 3.11.

    Errors: 400 badRequest (the body's key is not that of the path, or the type of consistency groups); 403 forbidden (the
    caller is no administrator); 404 itemNotFound (type, or a version below 3.11).
    """
    request.require(_SINCE)
    if set(body) != {key}:
        raise errors.InvalidInput(field=key[:80], value=None, reason="the body must have exactly the key of the path")
    edit_group_specs(request.app, id, dict(body))
    return answer(body)


@router.delete("/group_types/{id}/group_specs/{key}", status_code=202)
def delete_group_spec(request: CurrentRequest, id: str, key: str) -> Response:
    """Remove one group spec. For administrators, from 3.11.

    Errors: 400 badRequest (the type of consistency groups); 403 forbidden (the caller is no administrator); 404
    itemNotFound (type or key, or a version below 3.11).
    """
    request.require(_SINCE)
    edit_group_specs(request.app, id, {key: None})
    return Response(status_code=202)


@router.get("/group_types/{id}/nbdsvc-access")
def access(request: CurrentRequest, id: str) -> JSONResponse:
    """List the projects that may use a private group type (ours, not Cinder's). For administrators, from 3.11.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type, a public one, or a version below 3.11).
    """
    request.require(_SINCE)
    found = get_group_type(request.app, request.context, id)
    if found.is_public:
        raise errors.NotFound(resource="Access list of public group type", id=id)
    return answer({"group_type_access": [{"group_type_id": found.id, "project_id": each} for each in found.projects]})


def _add_access(request: ApiRequest, id: str, body: Access) -> None:
    add_group_type_access(request.app, id, body.project)


def _remove_access(request: ApiRequest, id: str, body: Access) -> None:
    remove_group_type_access(request.app, id, body.project)


ACTIONS = {
    "nbdsvc-addProjectAccess": Action(_add_access, Access, since=_SINCE),
    "nbdsvc-removeProjectAccess": Action(_remove_access, Access, since=_SINCE),
}


@router.post("/group_types/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a private group type (ours, not Cinder's), for administrators: `nbdsvc-addProjectAccess` or
    `nbdsvc-removeProjectAccess`. From 3.11.

    Errors: 400 badRequest (action, or a public type); 403 forbidden (the caller is no administrator); 404 itemNotFound
    (type, project, or a version below 3.11); 409 conflictingRequest (the project has access already).
    """
    return await perform(ACTIONS, request, id, body)


def _specs(request: ApiRequest, id: str) -> dict[str, str]:
    request.require(_SINCE)
    return get_group_type(request.app, request.context, id).group_specs
