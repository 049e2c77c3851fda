"""/os-services: the storage hosts, whether they are up, and whether they take new volumes."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import Field

from nbdsvc.api import strict, views
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, answer
from nbdsvc.backends.services import ServiceReport, disable_service, enable_service, list_services

router = strict.router("services")

_CLUSTER_SINCE = (3, 7)


class ServiceBody(Body):
    """`service` is the older name of `binary`."""

    host: Key
    binary: Key | None = None
    service: Key | None = None
    cluster: str | None = None


class ReasonBody(ServiceBody):
    """A service, and why it is disabled."""

    disabled_reason: Annotated[LongText, Field(min_length=1)]


@router.get("/os-services")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the services, one for each backend, or those of `host` (host, or host@backend) and `binary`. For
    administrators.

    Errors: 403 forbidden (the caller is no administrator).
    """
    request.require_admin()
    host, binary = request.query.get("host"), request.query.get("binary")
    found = [service for service in list_services(request.app) if service.matches(host, binary)]
    return answer({"services": [_view(request, service) for service in found]})


@router.put("/os-services/enable")
def enable(request: CurrentRequest, body: ServiceBody) -> JSONResponse:
    """Let a backend, or all of a host, take new volumes again. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    request.require_admin()
    enable_service(request.app, body.host, body.binary or body.service)
    # Cinder's sample has no disabled_reason here, but clients validate replies with one: null satisfies both.
    return answer({**_changed(body, disabled=False), "disabled_reason": None})


@router.put("/os-services/disable")
def disable(request: CurrentRequest, body: ServiceBody) -> JSONResponse:
    """Place no new volumes on a backend, or on all of a host. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    request.require_admin()
    disable_service(request.app, body.host, body.binary or body.service)
    return answer(_changed(body, disabled=True))


@router.put("/os-services/disable-log-reason")
def disable_log_reason(request: CurrentRequest, body: ReasonBody) -> JSONResponse:
    """Place no new volumes on a backend, or on all of a host, and record why. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    request.require_admin()
    disable_service(request.app, body.host, body.binary or body.service, body.disabled_reason)
    return answer({**_changed(body, disabled=True), "disabled_reason": body.disabled_reason})


def _changed(body: ServiceBody, *, disabled: bool) -> dict[str, Any]:
    return {"host": body.host, "service": body.service or "", "binary": body.binary or "", "disabled": disabled,
            "status": "disabled" if disabled else "enabled"}  # fmt: skip


def _view(request: ApiRequest, service: ServiceReport) -> dict[str, Any]:
    row = service.row
    shown = {
        "binary": row.binary,
        "host": service.name,
        "zone": row.availability_zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if service.is_up else "down",
        "updated_at": views.stamp(row.updated_at),
        # The only field that clients show as a text.
        "disabled_reason": row.disabled_reason or _shown_findings(service),
        "replication_status": row.replication_status,
        "active_backend_id": row.active_backend_id,
        "frozen": row.frozen,
    }
    return shown | ({"cluster": None} if request.version >= _CLUSTER_SINCE else {})


def _shown_findings(service: ServiceReport) -> str | None:
    return "; ".join(f"{thing}: {reason}" for thing, reason in service.findings) or None
