"""/types: volume types, extra specs, access."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import paging, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import Ask, Asked, Body, Key, LongText, Metadata, answer
from nbdsvc.model.entities import VolumeType
from nbdsvc.types.access import add_access, remove_access
from nbdsvc.types.change import create_type, delete_type, update_type
from nbdsvc.types.extra_specs import edit_extra_specs
from nbdsvc.types.queries import default_type, get_type, list_types

router = strict.router("volume types")


_SORTABLE = ("id", "name", "created_at", "updated_at", "is_public")


class NewType(Body):
    name: Key
    description: LongText | None = None
    is_public: bool = Field(default=True, alias="os-volume-type-access:is_public")
    extra_specs: Metadata | None = None


class CreateBody(Body):
    volume_type: NewType


class TypeChanges(Body):
    name: Key | None = None
    description: LongText | None = None
    is_public: bool | None = None


class UpdateBody(Body):
    volume_type: TypeChanges


class SpecsBody(Body):
    extra_specs: Annotated[Metadata, Field(min_length=1)]


class Access(Body):
    project: Key


@router.get("/types")
def listing(asked: Ask) -> JSONResponse:
    """The volume types that the project may use."""
    rows = list_types(asked.app, asked.context)
    wanted = asked.query.get("is_public")
    if wanted not in (None, "None", "none"):
        public = asked.flag("is_public")
        rows = [row for row in rows if row.is_public == public]
    page = paging.page(asked, _SORTABLE)
    rows = paging.cut(rows, page, "VolumeType")
    shown = [_view(asked, row) for row in rows]
    return answer({"volume_types": shown, **paging.next_link(asked, "volume_type", "types", page, rows)})


@router.post("/types")
def create(asked: Ask, body: CreateBody) -> JSONResponse:
    """Make a volume type."""
    asked.require_admin()
    wanted = body.volume_type
    made = create_type(asked.app, wanted.name, wanted.description, wanted.is_public, wanted.extra_specs or {})
    return answer({"volume_type": views.volume_type(made, asked.context) | views.volume_type_access(made)})


@router.get("/types/default")
def default(asked: Ask) -> JSONResponse:
    """The type that a volume gets where its creation names none."""
    row = default_type(asked.app)
    return answer({"volume_type": views.volume_type(row, asked.context) | views.volume_type_qos(asked.context)})


@router.get("/types/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One volume type, by id or name."""
    return answer({"volume_type": _view(asked, get_type(asked.app, asked.context, id))})


@router.put("/types/{id}")
def update(asked: Ask, id: str, body: UpdateBody) -> JSONResponse:
    """Change name, description or is_public."""
    asked.require_admin()
    changes = body.volume_type.model_dump(exclude_none=True)
    if not changes:
        raise errors.InvalidInput(field="volume_type", value=None, reason="needs name, description or is_public")
    return answer({"volume_type": views.volume_type(update_type(asked.app, id, **changes), asked.context)})


@router.delete("/types/{id}", status_code=202)
def delete(asked: Ask, id: str) -> Response:
    """Delete a type that no volume has and that is not the default."""
    asked.require_admin()
    delete_type(asked.app, id)
    return Response(status_code=202)


@router.get("/types/{id}/extra_specs")
def extra_specs(asked: Ask, id: str) -> JSONResponse:
    """The extra specs that the user may see."""
    return answer({"extra_specs": _shown(asked, id)})


@router.post("/types/{id}/extra_specs")
def set_extra_specs(asked: Ask, id: str, body: SpecsBody) -> JSONResponse:
    """Set extra specs, keep the others."""
    asked.require_admin()
    edit_extra_specs(asked.app, id, dict(body.extra_specs))
    return answer({"extra_specs": body.extra_specs})


@router.get("/types/{id}/extra_specs/{key}")
def extra_spec(asked: Ask, id: str, key: str) -> JSONResponse:
    """One extra spec."""
    found = _shown(asked, id)
    if key not in found:
        raise errors.NotFound(resource="Extra spec", id=key)
    return answer({key: found[key]})


@router.put("/types/{id}/extra_specs/{key}")
def set_extra_spec(asked: Ask, id: str, key: str, body: Annotated[Metadata, Json()]) -> JSONResponse:
    """Set one extra spec."""
    asked.require_admin()
    if set(body) != {key}:
        raise errors.InvalidInput(field=key[:80], value=None, reason="the body must have exactly the key of the path")
    edit_extra_specs(asked.app, id, dict(body))
    return answer(body)


@router.delete("/types/{id}/extra_specs/{key}", status_code=202)
def delete_extra_spec(asked: Ask, id: str, key: str) -> Response:
    """Remove one extra spec."""
    asked.require_admin()
    edit_extra_specs(asked.app, id, {key: None})
    return Response(status_code=202)


@router.get("/types/{id}/encryption")
def encryption(asked: Ask, id: str) -> JSONResponse:
    """The encryption of a type: there is none."""
    get_type(asked.app, asked.context, id)
    return answer({})


@router.get("/types/{id}/os-volume-type-access")
def access(asked: Ask, id: str) -> JSONResponse:
    """The projects that may use a private type."""
    asked.require_admin()
    found = get_type(asked.app, asked.context, id)
    if found.is_public:
        raise errors.NotFound(resource="Access list of public type", id=id)
    rows = [{"volume_type_id": found.id, "project_id": project} for project in found.projects]
    return answer({"volume_type_access": rows})


def _add_access(asked: Asked, id: str, wish: Access) -> None:
    add_access(asked.app, id, wish.project)


def _remove_access(asked: Asked, id: str, wish: Access) -> None:
    remove_access(asked.app, id, wish.project)


ACTIONS = {
    "addProjectAccess": Action(_add_access, Access, admin=True),
    "removeProjectAccess": Action(_remove_access, Access, admin=True),
}


@router.post("/types/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """`addProjectAccess` or `removeProjectAccess` of a private type."""
    return await perform(ACTIONS, asked, id, body)


def _shown(asked: Asked, id: str) -> dict[str, str]:
    return views.extra_specs(get_type(asked.app, asked.context, id), asked.context)


def _view(asked: Asked, row: VolumeType) -> dict[str, Any]:
    shown = views.volume_type(row, asked.context)
    return shown | views.volume_type_access(row) | views.volume_type_qos(asked.context)
