"""The pool's backend has to be up and to take new volumes. Cinder checks this before its filters."""

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter


def _lacks(candidate: Candidate, _request: Request) -> str | None:
    if not candidate.up:
        return candidate.pool.fault or "the backend is down"
    return None if candidate.enabled else "the backend is disabled or frozen and takes no new volumes"


BACKEND_STATE = Filter("BackendStateFilter", _lacks)
