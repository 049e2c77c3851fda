"""/os-availability-zone: where volumes may be."""

from fastapi.responses import JSONResponse

from nbdsvc.api import strict
from nbdsvc.api.request import Ask, answer
from nbdsvc.manager import zones

router = strict.router("availability zones")


@router.get("/os-availability-zone")
def listing(asked: Ask) -> JSONResponse:
    """The zones of the storage hosts; one is available while a host in it takes new volumes."""
    with asked.app.database.read() as conn:
        found = zones.listing(conn)
    shown = [{"zoneName": name, "zoneState": {"available": available}} for name, available in sorted(found.items())]
    return answer({"availabilityZoneInfo": shown})
