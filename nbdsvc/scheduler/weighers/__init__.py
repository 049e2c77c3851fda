"""Which of the pools that can take a volume is the best: weighers, each a number for a pool, and their sum."""

import math
from collections.abc import Callable, Mapping, Sequence

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.functions import goodness
from nbdsvc.scheduler.weighers.chance import chance
from nbdsvc.scheduler.weighers.pool_numbers import allocated_capacity, capacity, volume_number

# Weighers by their names in the setting scheduler_weights.
WEIGHERS: dict[str, Callable[[Candidate, Request], float]] = {
    "capacity": capacity,
    "allocated_capacity": allocated_capacity,
    "volume_number": volume_number,
    "goodness": goodness,
    "chance": chance,
}


def weigh(candidates: Sequence[Candidate], request: Request, multipliers: Mapping[str, float]) -> list[float]:
    """The weight of each pool, more is better: what each weigher finds, moved into 0 to 1, times its multiplier."""
    total = [0.0] * len(candidates)
    for name, multiplier in multipliers.items():
        found = normalise(_least([WEIGHERS[name](each, request) for each in candidates], multiplier))
        total = [before + multiplier * more for before, more in zip(total, found, strict=True)]
    return total


def _least(found: Sequence[float], multiplier: float) -> list[float]:
    """The numbers, and in place of what is none the one that weighs least of all with this multiplier."""
    numbers = [each for each in found if not math.isnan(each)]
    least = min(numbers, default=0.0) - 1 if multiplier > 0 else max(numbers, default=0.0) + 1
    return [least if math.isnan(each) else each for each in found]


def normalise(found: Sequence[float]) -> list[float]:
    """The numbers moved into 0 to 1, as Cinder does: the least is 0, the most 1; 0 for all where they are the same."""
    least, most = min(found, default=0.0), max(found, default=0.0)
    span = most - least
    return [(each - least) / span if span else 0.0 for each in found]
