"""/os-hosts: the storage hosts and each project's usage of them, for clients from before /os-services."""

from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BeforeValidator

from nbdsvc.api import strict, views
from nbdsvc.api.request import Body, CurrentRequest, answer
from nbdsvc.backends.services import ServiceReport, disable_service, enable_service, list_services
from nbdsvc.backends.usage import Usage, usage_of_host

router = strict.router("hosts")

_TOTAL = "(total)"


def _plain(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


class HostBody(Body):
    """Whether a host takes new volumes; in capitals too, as in Cinder."""

    status: Annotated[Literal["enable", "disable"], BeforeValidator(_plain)]


@router.get("/os-hosts")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the backends of all storage hosts, or of those in the zone `zone`. For administrators.

    Errors: 403 forbidden (the caller is no administrator).
    """
    zone = request.query.get("zone") or None
    found = [service for service in list_services(request.app) if zone in (None, service.row.availability_zone)]
    return answer({"hosts": [_view(service) for service in found]})


@router.get("/os-hosts/{host}")
def show(request: CurrentRequest, host: str) -> JSONResponse:
    """Show how many volumes and snapshots are on a backend `host@backend`, or on all of a host: in total, then of each
    project. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (host).
    """
    total, projects = usage_of_host(request.app, host)
    shown = {_TOTAL: total, **projects}
    return answer({"host": [{"resource": _resource(host, project, used)} for project, used in shown.items()]})


@router.put("/os-hosts/{host}")
def update(request: CurrentRequest, host: str, body: HostBody) -> JSONResponse:
    """Let a backend, or all of a host, take new volumes (`status` enable) or not (disable). For administrators.

    Errors: 400 badRequest (status); 403 forbidden (the caller is no administrator); 404 itemNotFound (host).
    """
    (enable_service if body.status == "enable" else disable_service)(request.app, host, None)
    return answer({"host": host, "status": f"{body.status}d"})


def _view(service: ServiceReport) -> dict[str, Any]:
    return {
        "host_name": service.name,
        "service": service.row.binary,
        "zone": service.row.availability_zone,
        "service-status": "available" if service.is_up else "unavailable",
        "service-state": "disabled" if service.row.disabled else "enabled",
        "last-update": views.stamp(service.row.updated_at),
    }


def _resource(host: str, project: str, used: Usage) -> dict[str, str]:
    return {
        "host": host,
        "project": project,
        "volume_count": str(used.volumes),
        "total_volume_gb": str(used.volume_size),
        "snapshot_count": str(used.snapshots),
        "total_snapshot_gb": str(used.snapshot_size),
    }
