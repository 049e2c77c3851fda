"""/workers: let services take up unfinished work."""

from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BeforeValidator

from nbdsvc.api import strict
from nbdsvc.api.request import Body, CurrentRequest, Key, Text, answer
from nbdsvc.backends.clean_up import CleanUpRequest, clean_up
from nbdsvc.backends.services import ServiceReport
from nbdsvc.model.values import boolean

router = strict.router("workers")

_SINCE = (3, 24)


def _flag(value: Any) -> Any:
    return boolean("flag", value) if isinstance(value, str) else value


def _title(value: Any) -> Any:
    return value.title() if isinstance(value, str) else value


_Flag = Annotated[bool, BeforeValidator(_flag)]


class CleanUpBody(Body):
    """Which services; cluster_name: those of cluster@backend."""

    host: Key | None = None
    binary: Key | None = None
    service_id: Text | int | None = None
    cluster_name: Text | None = None
    is_up: _Flag | None = None
    disabled: _Flag | None = None
    resource_id: Key | None = None
    resource_type: Annotated[Literal["Volume", "Snapshot"], BeforeValidator(_title)] | None = None


@router.post("/workers/cleanup", status_code=202)
def cleanup(request: CurrentRequest, body: CleanUpBody) -> JSONResponse:
    """Let services take up what is unfinished, and show those that are down. They do so by themselves: nothing waits for
    this. For administrators, from 3.24.

    Errors: 400 badRequest (a field); 403 forbidden (the caller is no administrator).
    """
    request.require(_SINCE)
    given = body.model_dump(exclude={"cluster_name", "service_id"})
    id = None if body.service_id is None else str(body.service_id)
    found = clean_up(request.app, CleanUpRequest(**given, service_id=id, cluster_name=body.cluster_name or None))
    shown = {"cleaning": found.cleaning, "unavailable": found.unavailable}
    return answer({name: [_view(each) for each in services] for name, services in shown.items()}, 202)


def _view(service: ServiceReport) -> dict[str, Any]:
    row = service.row
    return {"id": row.id, "host": service.name, "binary": row.binary, "cluster_name": row.cluster_name}
