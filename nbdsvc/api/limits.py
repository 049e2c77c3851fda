"""/limits: what a project may have and what it uses."""

from fastapi.responses import JSONResponse

from nbdsvc.api import strict
from nbdsvc.api.request import ApiRequest, CurrentRequest, answer
from nbdsvc.quotas.show import quotas_of

router = strict.router("limits")

_PROJECT_SINCE = (3, 39)


@router.get("/limits")
def limits(request: CurrentRequest) -> JSONResponse:
    """Show the project's absolute limits and usage; from 3.39 an administrator may name another project by
    `project_id`.

    Errors: 403 forbidden (another project).
    """
    found = quotas_of(request.app, _project(request))
    allowed, used = found.limits, found.used
    absolute = {
        "maxTotalVolumes": allowed["volumes"],
        "maxTotalSnapshots": allowed["snapshots"],
        "maxTotalVolumeGigabytes": allowed["gigabytes"],
        "maxTotalBackups": allowed["backups"],
        "maxTotalBackupGigabytes": allowed["backup_gigabytes"],
        "totalVolumesUsed": used["volumes"],
        "totalSnapshotsUsed": used["snapshots"],
        "totalGigabytesUsed": used["gigabytes"],
        "totalBackupsUsed": used["backups"],
        "totalBackupGigabytesUsed": used["backup_gigabytes"],
    }
    return answer({"limits": {"rate": [], "absolute": absolute}})


def _project(request: ApiRequest) -> str:
    own = request.context.project_id
    named = request.query.get("project_id") or request.query.get("tenant_id") or own
    if request.version < _PROJECT_SINCE or named == own:
        return own
    request.permissions.enforce("limits_extension:used_limits", named)
    return named
