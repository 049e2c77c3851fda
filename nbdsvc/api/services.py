"""/os-services: the storage hosts, whether they are up, and whether they take new volumes."""

from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import steps, strict, views
from nbdsvc.api.microversions import Version
from nbdsvc.api.request import Body, CurrentRequest, Key, LongText, Text, answer
from nbdsvc.api.waiting import wait_for_result
from nbdsvc.backends.failover import failover_backend
from nbdsvc.backends.freeze import freeze_backend
from nbdsvc.backends.get_log import get_log
from nbdsvc.backends.services import ServiceReport, disable_service, enable_service, list_services
from nbdsvc.backends.set_log import LogTarget, set_log
from nbdsvc.backends.thaw import thaw_backend

router = strict.router("services")

_CLUSTER_SINCE, _FAILOVER_SINCE, _LOG_SINCE = (3, 7), (3, 26), (3, 32)


class ServiceBody(Body):
    """`service` is the older name of `binary`."""

    host: Key
    binary: Key | None = None
    service: Key | None = None
    cluster: str | None = None


class BackendBody(Body):
    """`host@backend`, or all backends of `host`. A cluster is frozen host by host."""

    host: Key
    cluster: Literal[""] | None = None


class FailoverBody(BackendBody):
    """A backend, and the replication target to fail over to."""

    backend_id: Text | None = None


class LogBody(Body):
    """Which loggers of which services; all where nothing is said."""

    binary: Literal["*", "", "cinder-api", "cinder-volume", "cinder-scheduler", "cinder-backup"] | None = None
    server: Text | None = None
    prefix: Text | None = None

    def target(self) -> LogTarget:
        """The same for the use case."""
        return LogTarget(self.binary or "*", self.server or "", self.prefix or "")


class LevelBody(LogBody):
    """Loggers, and their new level: DEBUG, INFO, WARNING or ERROR."""

    level: Text


class ReasonBody(ServiceBody):
    """A service, and why it is disabled."""

    disabled_reason: Annotated[LongText, Field(min_length=1)]


@router.get("/os-services")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the services, one for each backend, or those of `host` (host, or host@backend) and `binary`. For
    administrators.

    Errors: 403 forbidden (the caller is no administrator).
    """
    # `service` is the older name of `binary`.
    host, binary = request.query.get("host"), request.query.get("binary", request.query.get("service"))
    found = [service for service in list_services(request.app) if service.matches(host, binary)]
    return answer({"services": [view(service, request.version) for service in found]})


@router.put("/os-services/enable")
def enable(request: CurrentRequest, body: ServiceBody) -> JSONResponse:
    """Let a backend, or all of a host, take new volumes again. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    enable_service(request.app, body.host, body.binary or body.service)
    # Cinder's sample has no disabled_reason here, but clients validate replies with one: null satisfies both.
    return answer({**_changed(body, disabled=False), "disabled_reason": None})


@router.put("/os-services/disable")
def disable(request: CurrentRequest, body: ServiceBody) -> JSONResponse:
    """Place no new volumes on a backend, or on all of a host. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    disable_service(request.app, body.host, body.binary or body.service)
    return answer(_changed(body, disabled=True))


@router.put("/os-services/disable-log-reason")
def disable_log_reason(request: CurrentRequest, body: ReasonBody) -> JSONResponse:
    """Place no new volumes on a backend, or on all of a host, and record why. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (service).
    """
    disable_service(request.app, body.host, body.binary or body.service, body.disabled_reason)
    return answer({**_changed(body, disabled=True), "disabled_reason": body.disabled_reason})


@router.put("/os-services/freeze")
def freeze(request: CurrentRequest, body: BackendBody) -> Response:
    """Freeze a backend, or all of a host: volumes are used as before, and whatever would make, change or remove something
    there is refused. For administrators.

    Errors: 400 badRequest (host, or it is frozen already); 403 forbidden (the caller is no administrator).
    """
    freeze_backend(request.app, request.context, body.host)
    return Response()


@router.put("/os-services/thaw")
async def thaw(request: CurrentRequest, body: BackendBody) -> Response:
    """Thaw a backend, or all of a host, and let it take new volumes again. For administrators.

    Errors: 400 badRequest (host, or it is not frozen); 403 forbidden (the caller is no administrator); 503
    serviceUnavailable (the driver failed: the backend stays frozen; or its host does not answer).
    """
    await wait_for_result(request.app, lambda: thaw_backend(request.app, request.context, body.host))
    return Response()


@router.put("/os-services/failover_host", status_code=202)
def failover_host(request: CurrentRequest, body: FailoverBody) -> Response:
    """Fail a backend over to its replication target `backend_id`, or to one that its driver chooses; `default` fails back.
    For administrators. The list of services shows how it ends.

    Errors: 400 badRequest (the backend does not replicate, or is not enabled or failed over); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (service).
    """
    failover_backend(request.app, request.context, body.host, body.backend_id or None)
    return Response(status_code=202)


@router.put("/os-services/failover", status_code=202)
def failover(request: CurrentRequest, body: FailoverBody) -> Response:
    """The same from 3.26 on, under the name that Cinder gave it for clusters. For administrators.

    Errors: as of failover_host; 404 itemNotFound (below 3.26).
    """
    request.require(_FAILOVER_SINCE)
    return failover_host(request, body)


@router.put("/os-services/set-log", status_code=202)
def set_levels(request: CurrentRequest, body: LevelBody) -> Response:
    """Set the log level of running processes, of the loggers whose names begin with `prefix`: of the API process that has
    the request (`cinder-api`) and of hosts (`cinder-volume`), until they end. For administrators, from 3.32.

    Errors: 400 badRequest (binary, level); 403 forbidden (the caller is no administrator).
    """
    request.require(_LOG_SINCE)
    set_log(request.app, request.context, body.target(), body.level)
    return Response(status_code=202)


@router.put("/os-services/get-log")
async def get_levels(request: CurrentRequest, body: LogBody) -> JSONResponse:
    """Show the log levels of running processes, by the names of their loggers. For administrators, from 3.32.

    Errors: 400 badRequest (binary); 403 forbidden (the caller is no administrator); 503 serviceUnavailable (a host that
    should be up does not answer).
    """
    request.require(_LOG_SINCE)
    found = await wait_for_result(request.app, lambda: get_log(request.app, request.context, body.target()))
    return answer({"log_levels": [{"binary": each.binary, "host": each.host, "levels": each.levels} for each in found]})


def _changed(body: ServiceBody, *, disabled: bool) -> dict[str, Any]:
    return {"host": body.host, "service": body.service or "", "binary": body.binary or "", "disabled": disabled,
            "status": "disabled" if disabled else "enabled"}  # fmt: skip


def view(service: ServiceReport, version: Version) -> dict[str, Any]:
    """A service as the list shows it."""
    row = service.row
    shown = {
        "binary": row.binary,
        "host": service.name,
        "zone": row.availability_zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if service.is_up else "down",
        "updated_at": views.stamp(row.updated_at),
        # This is the only field that clients display as text.
        "disabled_reason": row.disabled_reason or _shown_findings(service),
        "replication_status": row.replication_status,
        "active_backend_id": row.active_backend_id,
        "frozen": row.frozen,
    }
    if version >= _CLUSTER_SINCE:
        shown["cluster"] = row.cluster_name
    if version >= steps.BACKEND_STATE:
        shown["backend_state"] = "up" if service.backend_is_up else "down"
    return shown


def _shown_findings(service: ServiceReport) -> str | None:
    return "; ".join(f"{thing}: {reason}" for thing, reason in service.findings) or None
