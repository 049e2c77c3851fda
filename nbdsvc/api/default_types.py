"""/default-types, from microversion 3.62: the volume type of a project whose requests name none. For administrators."""

from typing import Annotated

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import steps, strict
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, answer
from nbdsvc.types.defaults import get_default, list_defaults, set_default, unset_default

router = strict.router("default types")


class NewDefault(Body):
    """The type, by id or name."""

    volume_type: Annotated[Key, Field(max_length=255)]


class DefaultBody(Body):
    """The body of a set."""

    default_type: NewDefault


def _check(request: ApiRequest) -> None:
    request.require(steps.DEFAULT_TYPES)


def _view(project_id: str, type_id: str) -> dict[str, str]:
    return {"project_id": project_id, "volume_type_id": type_id}


@router.put("/default-types/{project}")
def put(request: CurrentRequest, project: str, body: DefaultBody) -> JSONResponse:
    """Set the default type of a project. For administrators, from 3.62.

    Errors: 400 badRequest (no such type, or one that the project may not use); 403 forbidden (the caller is no
    administrator); 404 itemNotFound (a version below 3.62).
    """
    _check(request)
    found = set_default(request.app, project, body.default_type.volume_type)
    return answer({"default_type": _view(project, found)})


@router.get("/default-types")
@router.get("/default-types/", include_in_schema=False)
def listing(request: CurrentRequest) -> JSONResponse:
    """List the default types of projects that have their own. For administrators, from 3.62.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (a version below 3.62).
    """
    _check(request)
    return answer({"default_types": [_view(*each) for each in list_defaults(request.app).items()]})


@router.get("/default-types/{project}")
def show(request: CurrentRequest, project: str) -> JSONResponse:
    """Show a project's own default type. For administrators, from 3.62.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (a project without one, or a version below
    3.62).
    """
    _check(request)
    return answer({"default_type": _view(project, get_default(request.app, project))})


@router.delete("/default-types/{project}", status_code=204, response_class=Response)
def delete(request: CurrentRequest, project: str) -> Response:
    """Unset a project's own default type. For administrators, from 3.62.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (a project without one, or a version below
    3.62).
    """
    _check(request)
    unset_default(request.app, project)
    return Response(status_code=204)
