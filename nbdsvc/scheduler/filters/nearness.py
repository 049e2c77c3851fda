"""The pool has to be where scheduler hints require: on or off other volumes' backend, or on an instance's host."""

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter

# The most names that a reason lists.
_SHOWN = 5


def _lacks_same(candidate: Candidate, request: Request) -> str | None:
    wanted = request.near.same_backends
    if wanted is None or candidate.backend_name in wanted:
        return None
    return f"a backend of the volumes in same_host requested: {_names(wanted)}"


def _lacks_different(candidate: Candidate, request: Request) -> str | None:
    if candidate.backend_name not in request.near.different_backends:
        return None
    return "another backend than this one requested: it has a volume of different_host"


def _lacks_local(candidate: Candidate, request: Request) -> str | None:
    wanted = request.near.local_hosts
    if wanted is None or candidate.host in wanted:
        return None
    return f"the host of the instance requested: {_names(wanted)}"


def _names(found: frozenset[str]) -> str:
    shown = sorted(found)[:_SHOWN]
    return ", ".join(shown) + (" ..." if len(found) > _SHOWN else "")


SAME_BACKEND = Filter("SameBackendFilter", _lacks_same)
DIFFERENT_BACKEND = Filter("DifferentBackendFilter", _lacks_different)
INSTANCE_LOCALITY = Filter("InstanceLocalityFilter", _lacks_local)
