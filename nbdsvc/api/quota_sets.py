"""/os-quota-sets: a project's limits, read and set."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.request import MAX_INTEGER, Ask, Asked, Body, answer
from nbdsvc.store import quotas

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
def defaults(asked: Ask, project: str) -> JSONResponse:
    """What a project without limits of its own may have."""
    return answer({"quota_set": {"id": project, **asked.app.settings.quotas}})


@router.get("/os-quota-sets/{project}")
def show(asked: Ask, project: str) -> JSONResponse:
    """The project's limits; with `usage=true` also what it uses."""
    if project != asked.context.project_id and not asked.context.is_admin:
        raise errors.Forbidden(reason="Only an administrator sees another project's quotas.")
    return answer({"quota_set": {"id": project, **_quotas(asked, project, asked.flag("usage"))}})


@router.put("/os-quota-sets/{project}")
def update(asked: Ask, project: str, body: QuotaBody) -> JSONResponse:
    """Set limits; -1 is unlimited. What the body does not name stays."""
    asked.require_admin()
    wanted = body.quota_set.model_dump(exclude_none=True, exclude={"tenant_id"})
    if len(project) > 255:
        raise errors.InvalidInput(field="project_id", value=project[:80], reason="is too long")
    with asked.app.change() as conn:
        quotas.set_limits(conn, project, wanted)
    return answer({"quota_set": _quotas(asked, project, False)})


@router.delete("/os-quota-sets/{project}", status_code=200, response_class=Response)
def reset(asked: Ask, project: str) -> Response:
    """Back to the defaults. The answer has no body."""
    asked.require_admin()
    with asked.app.change() as conn:
        quotas.reset_limits(conn, project)
    return Response(status_code=200)


def _quotas(asked: Asked, project: str, with_usage: bool) -> dict[str, Any]:
    with asked.app.database.read() as conn:
        allowed = quotas.limits(conn, project, asked.app.settings.quotas)
        used = quotas.usage(conn, project)
    if not with_usage:
        return dict(allowed)
    return {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in allowed.items()}
