"""The pool has to meet the extra specs of the volume's type."""

from nbdsvc.scheduler import extra_specs
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter

# The most characters of a value in a reason, because a capability may be a long text.
_SHOWN = 60


def _lacks(candidate: Candidate, request: Request) -> str | None:
    has = candidate.capabilities
    if unmet := extra_specs.unmet(request.demands, has):
        name = unmet[0]
        value = extra_specs.find(has, name)
        found = "this reports no such capability" if value is None else f"this has {str(value)[:_SHOWN]}"
        return f"{name} = {request.demands[name][:_SHOWN]} requested, {found}"
    if request.multiattach and not has.get("multiattach", True):
        return "several attachments requested, this allows one"
    return None


CAPABILITIES = Filter("CapabilitiesFilter", _lacks)
