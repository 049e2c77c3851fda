"""A volume that exists has to get to the pool from the host where it is."""

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter


def _lacks(candidate: Candidate, _request: Request) -> str | None:
    return candidate.out_of_reach or None


REACHABLE = Filter("ReachableHostFilter", _lacks)
