"""The pool and its backend must not have been tried already, or be excluded by the request."""

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter


def _lacks(candidate: Candidate, request: Request) -> str | None:
    names = {candidate.full_name, candidate.backend_name, candidate.host}
    return "it is excluded from this choice" if names & request.attempted else None


IGNORE_ATTEMPTED = Filter("IgnoreAttemptedHostsFilter", _lacks)
