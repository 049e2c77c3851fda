"""The decision: which pools can take a volume, best first, and why each of the others cannot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters import CAPACITY, FILTERS, Filter
from nbdsvc.scheduler.weighers import weigh

# Characters of the reasons in an error, which the journal keeps and a reply carries.
_MOST_CHARACTERS = 1500


@dataclass(frozen=True)
class Refusal:
    """The first filter that turned a pool down, and what the pool lacks."""

    candidate: Candidate
    filter: Filter
    reason: str

    def __str__(self) -> str:
        return f"{self.candidate.full_name}: {self.filter.name}: {self.reason}"


@dataclass(frozen=True)
class Decision:
    """What became of each pool. ranked: those that can take the volume with their weights, best first."""

    request: Request
    ranked: Sequence[tuple[Candidate, float]]
    refused: Sequence[Refusal]

    @property
    def best(self) -> Candidate:
        """The best pool. NoValidBackend where there is none; NoRoom where one would do for a smaller volume."""
        if self.ranked:
            return self.ranked[0][0]
        reason = self._reasons()
        full = [each.candidate for each in self.refused if each.filter is CAPACITY]
        if not full:
            raise errors.NoValidBackend(backend="any", reason=reason)
        most = max(full, key=lambda candidate: candidate.room)
        raise errors.NoRoom(pool=most.full_name, requested=self.request.size, free=most.room, reason=reason)

    @property
    def refused_last_first(self) -> list[Refusal]:
        """Those first that got furthest: they lack least."""
        return sorted(self.refused, key=lambda each: -FILTERS.index(each.filter))

    def _reasons(self) -> str:
        """Of each pool, as many as an error may hold."""
        shown: list[str] = []
        length = 0
        order = self.refused_last_first
        for each in order:
            length += len(str(each)) + 2
            if shown and length > _MOST_CHARACTERS:
                return "; ".join(shown) + f"; and {len(order) - len(shown)} more pools"
            shown.append(str(each)[:_MOST_CHARACTERS])
        return "; ".join(shown) or "no storage host has reported a pool"


def decide(request: Request, candidates: Iterable[Candidate], multipliers: Mapping[str, float]) -> Decision:
    """Filter the pools, and weigh those that are left. Of two with the same weight, the later name comes first."""
    left, refused = [], []
    for candidate in candidates:
        refusal = judge(request, candidate)
        if refusal:
            refused.append(refusal)
        else:
            left.append(candidate)
    weighed = zip(left, weigh(left, request, multipliers), strict=True)
    ranked = sorted(weighed, key=lambda each: (each[1], each[0].full_name), reverse=True)
    return Decision(request, ranked, refused)


def judge(request: Request, candidate: Candidate, filters: Sequence[Filter] = FILTERS) -> Refusal | None:
    """What turns this pool down; None where nothing does."""
    for each in filters:
        reason = each.lacks(candidate, request)
        if reason is not None:
            return Refusal(candidate, each, reason)
    return None
