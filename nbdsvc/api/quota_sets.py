"""/os-quota-sets: a project's limits, read and set."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.request import Body, CurrentRequest, answer
from nbdsvc.model.values import MAX_INTEGER
from nbdsvc.quotas.show import default_limits, quotas_of
from nbdsvc.quotas.update import reset_limits, set_limits

router = strict.router("quota sets")

Limit = Annotated[int, Field(ge=-1, le=MAX_INTEGER)]


class QuotaChanges(Body):
    volumes: Limit | None = None
    snapshots: Limit | None = None
    gigabytes: Limit | None = None
    per_volume_gigabytes: Limit | None = None
    backups: Limit | None = None
    backup_gigabytes: Limit | None = None
    groups: Limit | None = None
    tenant_id: Any = None


class QuotaBody(Body):
    quota_set: QuotaChanges


@router.get("/os-quota-sets/{project}/defaults")
def defaults(request: CurrentRequest, project: str) -> JSONResponse:
    """What a project without limits of its own may have."""
    return answer({"quota_set": {"id": project, **default_limits(request.app)}})


@router.get("/os-quota-sets/{project}")
def show(request: CurrentRequest, project: str) -> JSONResponse:
    """The project's limits; with `usage=true` also what it uses."""
    if project != request.context.project_id and not request.context.is_admin:
        raise errors.Forbidden(reason="Only an administrator sees another project's quotas.")
    found = quotas_of(request.app, project)
    return answer({"quota_set": {"id": project, **(found.detailed() if request.flag("usage") else found.limits)}})


@router.put("/os-quota-sets/{project}")
def update(request: CurrentRequest, project: str, body: QuotaBody) -> JSONResponse:
    """Set limits; -1 is unlimited. What the body does not name stays."""
    request.require_admin()
    wanted = body.quota_set.model_dump(exclude_none=True, exclude={"tenant_id"})
    set_limits(request.app, project, wanted)
    return answer({"quota_set": quotas_of(request.app, project).limits})


@router.delete("/os-quota-sets/{project}", status_code=200, response_class=Response)
def reset(request: CurrentRequest, project: str) -> Response:
    """Back to the defaults. The answer has no body."""
    request.require_admin()
    reset_limits(request.app, project)
    return Response(status_code=200)
