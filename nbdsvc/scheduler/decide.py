"""The decision: the pools that can take a volume, best first, and for each other pool the reason why it cannot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.filters import CAPACITY, FILTERS, Filter
from nbdsvc.scheduler.weighers import weigh

# The most characters of the reasons in an error, which is stored in the journal and sent in replies.
_MOST_CHARACTERS = 1500


@dataclass(frozen=True)
class Refusal:
    """The first filter that refused a pool, and what the pool lacks."""

    candidate: Candidate
    filter: Filter
    reason: str

    def __str__(self) -> str:
        return f"{self.candidate.full_name}: {self.filter.name}: {self.reason}"


@dataclass(frozen=True)
class Decision:
    """The result for each pool. ranked: pools that can take the volume, with their weights, best first."""

    request: Request
    ranked: Sequence[tuple[Candidate, float]]
    refused: Sequence[Refusal]

    @property
    def best(self) -> Candidate:
        """The best pool. Raises NoValidBackend; NoRoom when a pool could take a smaller volume."""
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
        """The refusals, those of the last filters first: these pools lack least."""
        return sorted(self.refused, key=lambda each: -FILTERS.index(each.filter))

    def _reasons(self) -> str:
        """The reasons of the pools, as many as fit into an error."""
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
    """Filter the pools, and weigh the others. Of two pools with the same weight, the later name comes first; of the hosts
    that see one pool, the one that serves the least of it.
    """
    left, refused = [], []
    for candidate in candidates:
        refusal = judge(request, candidate)
        if refusal:
            refused.append(refusal)
        else:
            left.append(candidate)
    weighed = list(zip(left, weigh(left, request, multipliers), strict=True))
    # The hosts of a cluster report one pool at different moments: the storage is chosen first, and then its host.
    best = {each.storage: weight for each, weight in sorted(weighed, key=lambda found: found[1])}
    ranked = sorted(
        weighed,
        key=lambda each: (best[each[0].storage] if each[0].cluster else each[1], *_host_order(each[0])),
        reverse=True,
    )
    return Decision(request, ranked, refused)


def _host_order(candidate: Candidate) -> tuple[int, str]:
    return -candidate.served if candidate.cluster else 0, candidate.full_name


def judge(request: Request, candidate: Candidate, filters: Sequence[Filter] = FILTERS) -> Refusal | None:
    """The refusal of this pool; None if every filter accepts it."""
    for each in filters:
        reason = each.lacks(candidate, request)
        if reason is not None:
            return Refusal(candidate, each, reason)
    return None
