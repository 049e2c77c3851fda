"""/os-services/evacuate (ours, not Cinder's): migrate every volume of a host or a backend away."""

from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc.api import strict, views
from nbdsvc.api.request import Body, CurrentRequest, Key, answer
from nbdsvc.model.context import Context
from nbdsvc.volumes.evacuate import EvacuateRequest, Evacuee, evacuate

router = strict.router("services")


class EvacuateBody(Body):
    """A host, or host@backend. marker: id of a volume, to go on behind it. retry_failed: migrate again what failed before."""

    host: Key
    marker: Key | None = None
    retry_failed: bool = True


@router.put("/os-services/evacuate")
def start(request: CurrentRequest, body: EvacuateBody) -> JSONResponse:
    """Place no new volumes on a backend, or on all of a host, and start migrating what is there to other pools, some of it
    at a call: `next_marker`, where there is more, is the `marker` of the next one. Of each volume: its operation, or the
    reason why it stays. What is under way is left alone, so the same call may be repeated. For administrators. Not in Cinder.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (host).
    """
    wanted = EvacuateRequest(body.host, body.marker, body.retry_failed)
    found, marker = evacuate(request.app, request.context, wanted)
    shown = [_view(each, request.context) for each in found]
    return answer({"evacuation": {"volumes": shown, "next_marker": marker}})


def _view(found: Evacuee, context: Context) -> dict[str, Any]:
    volume = found.volume
    return {
        "id": volume.id,
        "name": volume.name,
        "project_id": volume.project_id,
        "size": volume.size,
        "state": found.state,
        "destination": found.destination,
        "operation": views.operation(found.operation, context) if found.operation else None,
        "obstacle": found.obstacle,
        "reason": found.reason,
        "advice": found.advice,
    }
