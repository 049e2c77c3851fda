"""Where the type has limits for the back end, a transport of the pool has to keep clients to them."""

from nbdsvc.scheduler import extra_specs
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter

_PROTOCOL = "storage_protocol"


def _lacks(candidate: Candidate, request: Request) -> str | None:
    if not request.limited:
        return None
    demand = request.demands.get(_PROTOCOL)
    allowed = [each for each in candidate.protocols if demand is None or extra_specs.meets(each, demand)]
    if set(allowed) & set(candidate.limiting):
        return None
    by = ", ".join(map(str, allowed)) or "no transport"
    return f"the QoS specs of the type are for the back end, and exports by {by} cannot keep clients to them"


QOS = Filter("QosFilter", _lacks)
