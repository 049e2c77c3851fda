"""/types: volume types, extra specs, access."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import paging, steps, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Metadata, answer
from nbdsvc.model.entities import VolumeType
from nbdsvc.model.values import pairs
from nbdsvc.types.access import add_access, remove_access
from nbdsvc.types.change import create_type, delete_type, update_type
from nbdsvc.types.extra_specs import edit_extra_specs
from nbdsvc.types.queries import default_type, get_type, list_types

router = strict.router("volume types")


_SORTABLE = ("id", "name", "created_at", "updated_at", "is_public")


class NewType(Body):
    """A new volume type."""

    name: Key
    description: LongText | None = None
    is_public: bool = Field(default=True, alias="os-volume-type-access:is_public")
    extra_specs: Metadata | None = None


class CreateBody(Body):
    """The body of a create."""

    volume_type: NewType


class TypeChanges(Body):
    """The fields to change."""

    name: Key | None = None
    description: LongText | None = None
    is_public: bool | None = None


class UpdateBody(Body):
    """The body of an update."""

    volume_type: TypeChanges


class SpecsBody(Body):
    """Extra specs to set."""

    extra_specs: Annotated[Metadata, Field(min_length=1)]


class Access(Body):
    """The project that may use the type, or may no more."""

    project: Key


@router.get("/types")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the volume types that the project may use; from 3.52 those whose extra specs, as the user sees them, have all
    pairs of `extra_specs`.

    Errors: 400 badRequest (is_public, extra_specs, sort or limit); 404 itemNotFound (marker).
    """
    rows = list_types(request.app, request.context)
    wanted = request.query.get("is_public")
    if wanted not in (None, "None", "none"):
        public = request.flag("is_public")
        rows = [row for row in rows if row.is_public == public]
    if request.version >= steps.TYPE_FILTER and "extra_specs" in request.query:
        specs = pairs("extra_specs", request.query["extra_specs"]).items()
        rows = [row for row in rows if specs <= views.extra_specs(row, request.context).items()]
    page = paging.page(request, _SORTABLE)
    rows = paging.cut(rows, page, "VolumeType")
    shown = [_view(request, row) for row in rows]
    return answer({"volume_types": shown, **paging.next_link(request, "volume_type", "types", page, rows)})


@router.post("/types")
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a volume type. For administrators.

    Errors: 400 badRequest (body); 403 forbidden (the caller is no administrator); 409 conflictingRequest (the name is
    taken).
    """
    wanted = body.volume_type
    made = create_type(request.app, wanted.name, wanted.description, wanted.is_public, wanted.extra_specs or {})
    return answer({"volume_type": views.volume_type(made, request.context) | views.volume_type_access(made)})


@router.get("/types/default")
def default(request: CurrentRequest) -> JSONResponse:
    """Show the type of a volume whose request names none: the project's own default type, or the service's.

    Errors: 404 itemNotFound (there is no default type).
    """
    row = default_type(request.app, request.context)
    return answer(
        {"volume_type": views.volume_type(row, request.context) | views.volume_type_qos(row, request.context)}
    )


@router.get("/types/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a volume type, by id or name.

    Errors: 404 itemNotFound (type).
    """
    return answer({"volume_type": _view(request, get_type(request.app, request.context, id))})


@router.put("/types/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Change a type's name, description or is_public. For administrators.

    Errors: 400 badRequest (none of them is given); 403 forbidden (the caller is no administrator); 404 itemNotFound
    (type); 409 conflictingRequest (the name is taken).
    """
    changes = body.volume_type.model_dump(exclude_none=True)
    if not changes:
        raise errors.InvalidInput(field="volume_type", value=None, reason="needs name, description or is_public")
    return answer({"volume_type": views.volume_type(update_type(request.app, id, **changes), request.context)})


@router.delete("/types/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a volume type. For administrators.

    Errors: 400 badRequest (volumes have it or are being given it, or it is the default); 403 forbidden (the caller is no
    administrator); 404 itemNotFound (type).
    """
    delete_type(request.app, id)
    return Response(status_code=202)


@router.get("/types/{id}/extra_specs")
def extra_specs(request: CurrentRequest, id: str) -> JSONResponse:
    """Show the extra specs that the user may see.

    Errors: 404 itemNotFound (type).
    """
    return answer({"extra_specs": _shown(request, id)})


@router.post("/types/{id}/extra_specs")
def set_extra_specs(request: CurrentRequest, id: str, body: SpecsBody) -> JSONResponse:
    """Set extra specs and keep the others. For administrators.

    Errors: 400 badRequest (body); 403 forbidden (the caller is no administrator); 404 itemNotFound (type); 409
    conflictingRequest (a volume is being given the type).
    """
    edit_extra_specs(request.app, id, dict(body.extra_specs))
    return answer({"extra_specs": body.extra_specs})


@router.get("/types/{id}/extra_specs/{key}")
def extra_spec(request: CurrentRequest, id: str, key: str) -> JSONResponse:
    """Show one extra spec.

    Errors: 404 itemNotFound (type or key).
    """
    found = _shown(request, id)
    if key not in found:
        raise errors.NotFound(resource="Extra spec", id=key)
    return answer({key: found[key]})


@router.put("/types/{id}/extra_specs/{key}")
def set_extra_spec(request: CurrentRequest, id: str, key: str, body: Annotated[Metadata, Json()]) -> JSONResponse:
    """Set one extra spec. For administrators.

    Errors: 400 badRequest (the body's key is not that of the path); 403 forbidden (the caller is no administrator); 404
    itemNotFound (type); 409 conflictingRequest (a volume is being given the type).
    """
    if set(body) != {key}:
        raise errors.InvalidInput(field=key[:80], value=None, reason="the body must have exactly the key of the path")
    edit_extra_specs(request.app, id, dict(body))
    return answer(body)


@router.delete("/types/{id}/extra_specs/{key}", status_code=202)
def delete_extra_spec(request: CurrentRequest, id: str, key: str) -> Response:
    """Remove one extra spec. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type or key); 409 conflictingRequest (a
    volume is being given the type).
    """
    edit_extra_specs(request.app, id, {key: None})
    return Response(status_code=202)


@router.get("/types/{id}/os-volume-type-access")
def access(request: CurrentRequest, id: str) -> JSONResponse:
    """List the projects that may use a private type. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type, or a public one).
    """
    found = get_type(request.app, request.context, id)
    if found.is_public:
        raise errors.NotFound(resource="Access list of public type", id=id)
    rows = [{"volume_type_id": found.id, "project_id": project} for project in found.projects]
    return answer({"volume_type_access": rows})


def _add_access(request: ApiRequest, id: str, body: Access) -> None:
    add_access(request.app, id, body.project)


def _remove_access(request: ApiRequest, id: str, body: Access) -> None:
    remove_access(request.app, id, body.project)


ACTIONS = {
    "addProjectAccess": Action(_add_access, Access),
    "removeProjectAccess": Action(_remove_access, Access),
}


@router.post("/types/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a private type, for administrators: `addProjectAccess` or `removeProjectAccess`.

    Errors: 400 badRequest (action, or a public type); 403 forbidden (the caller is no administrator); 404 itemNotFound
    (type or project); 409 conflictingRequest (the project has access already).
    """
    return await perform(ACTIONS, request, id, body)


def _shown(request: ApiRequest, id: str) -> dict[str, str]:
    return views.extra_specs(get_type(request.app, request.context, id), request.context)


def _view(request: ApiRequest, row: VolumeType) -> dict[str, Any]:
    shown = views.volume_type(row, request.context)
    return shown | views.volume_type_access(row) | views.volume_type_qos(row, request.context)
