"""The pools that can take a volume, best first."""

from collections.abc import Iterable

from nbdsvc import errors
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters import FILTERS
from nbdsvc.scheduler.weighers import weigh


def rank(request: Request, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The pools that pass every filter, best first. The caller checks their room.

    BackendUnavailable where none passes, with what the last filter that any pool met found missing.
    """
    left = list(candidates)
    for each in FILTERS:
        left = [candidate for candidate in left if each.passes(candidate, request)]
        if not left:
            raise errors.BackendUnavailable(backend="any", reason=each.reason(request))
    return sorted(left, key=weigh, reverse=True)
