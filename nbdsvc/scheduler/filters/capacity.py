"""The pool has to have enough capacity: free space, or for thin volumes the capacity that may still be promised."""

import math

from nbdsvc.driver import Capacity
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters.filter import Filter
from nbdsvc.units import GiB


def _lacks(candidate: Candidate, request: Request) -> str | None:
    if candidate.room >= request.size:
        return None
    pool = candidate.pool
    reserved = f", {pool.reserved_percentage} % reserved" if pool.reserved_percentage else ""
    text = f"{_gib(request.size)} GiB requested, {_gib(pool.free)} GiB free of {_gib(pool.total)}{reserved}"
    if isinstance(pool.total, str) and reserved:
        return f"{text}: a part of a capacity that is {pool.total} cannot be reserved"
    if pool.thin:
        text += f", {_gib(candidate.promised)} promised, at most {pool.max_over_subscription_ratio:g} times the size"
    return f"{text}: {_gib(candidate.room)} GiB may be promised"


def _gib(count: Capacity | float) -> str:
    """Bytes as GiB, rounded down, so that a capacity that is too small never looks sufficient."""
    if isinstance(count, str):
        return count
    return f"{math.floor(count / GiB * 10) / 10:g}"


CAPACITY = Filter("CapacityFilter", _lacks)
