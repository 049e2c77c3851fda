"""The pool has to be in the zone of the volume."""

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter


def _lacks(candidate: Candidate, request: Request) -> str | None:
    if candidate.zone == request.zone:
        return None
    return f"zone {request.zone} requested, this is zone {candidate.zone}"


AVAILABILITY_ZONE = Filter("AvailabilityZoneFilter", _lacks)
