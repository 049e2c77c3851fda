"""/os-quota-sets: a project's limits, read and set."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import strict
from nbdsvc.api.request import Body, CurrentRequest, answer
from nbdsvc.model.values import MAX_INTEGER
from nbdsvc.quotas.show import default_limits, quotas_of
from nbdsvc.quotas.update import reset_limits, set_limits

router = strict.router("quota sets")

Limit = Annotated[int, Field(ge=-1, le=MAX_INTEGER)]


class LimitChanges(Body):
    """Limits to set, -1 for unlimited; null leaves one as it is. Gigabytes are GiB."""

    volumes: Limit | None = None
    snapshots: Limit | None = None
    gigabytes: Limit | None = None
    per_volume_gigabytes: Limit | None = None
    backups: Limit | None = None
    backup_gigabytes: Limit | None = None
    groups: Limit | None = None


class QuotaChanges(LimitChanges):
    """Limits of a project to set. `tenant_id` is ignored: the path names the project."""

    tenant_id: Any = None


class QuotaBody(Body):
    """The body of an update."""

    quota_set: QuotaChanges


@router.get("/os-quota-sets/{project}/defaults")
def defaults(request: CurrentRequest, project: str) -> JSONResponse:
    """Show the quotas of a project that has none of its own.

    Errors: 403 forbidden (another project).
    """
    return answer({"quota_set": {"id": project, **default_limits(request.app)}})


@router.get("/os-quota-sets/{project}")
def show(request: CurrentRequest, project: str) -> JSONResponse:
    """Show a project's quotas; with `usage=true` also its usage.

    Errors: 400 badRequest (usage); 403 forbidden (another project).
    """
    found = quotas_of(request.app, project)
    return answer({"quota_set": {"id": project, **(found.detailed() if request.flag("usage") else found.limits)}})


@router.put("/os-quota-sets/{project}")
def update(request: CurrentRequest, project: str, body: QuotaBody) -> JSONResponse:
    """Set quotas of a project, -1 for unlimited; those that the body does not name stay. For administrators.

    Errors: 400 badRequest (quota or project); 403 forbidden (the caller is no administrator).
    """
    wanted = body.quota_set.model_dump(exclude_none=True, exclude={"tenant_id"})
    set_limits(request.app, project, wanted)
    return answer({"quota_set": quotas_of(request.app, project).limits})


@router.delete("/os-quota-sets/{project}", status_code=200, response_class=Response)
def reset(request: CurrentRequest, project: str) -> Response:
    """Reset a project's quotas to the defaults; the reply has no body. For administrators.

    Errors: 403 forbidden (the caller is no administrator).
    """
    reset_limits(request.app, project)
    return Response(status_code=200)
