"""/os-availability-zone: where volumes may be."""

from fastapi.responses import JSONResponse

from nbdsvc.api import strict
from nbdsvc.api.request import CurrentRequest, answer
from nbdsvc.backends.zones import list_zones

router = strict.router("availability zones")


@router.get("/os-availability-zone")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the availability zones of the storage hosts; one is available while a host in it takes new volumes.

    Errors: none of its own.
    """
    shown = [
        {"zoneName": name, "zoneState": {"available": available}}
        for name, available in sorted(list_zones(request.app).items())
    ]
    return answer({"availabilityZoneInfo": shown})
