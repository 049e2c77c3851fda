"""The order of the pools that can take a volume: each weigher gives a pool a number, and their sum is the weight."""

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
    """The weight of each pool, more is better: the sum of the weighers' numbers, scaled to 0..1, times multipliers."""
    total = [0.0] * len(candidates)
    for name, multiplier in multipliers.items():
        found = normalise(_least([WEIGHERS[name](each, request) for each in candidates], multiplier))
        total = [before + multiplier * more for before, more in zip(total, found, strict=True)]
    return total


def _least(found: Sequence[float], multiplier: float) -> list[float]:
    """The numbers, with the least weight for this multiplier in place of NaN."""
    numbers = [each for each in found if not math.isnan(each)]
    least = min(numbers, default=0.0) - 1 if multiplier > 0 else max(numbers, default=0.0) + 1
    return [least if math.isnan(each) else each for each in found]


def normalise(found: Sequence[float]) -> list[float]:
    """The numbers scaled to 0..1 as in Cinder: the least becomes 0, the greatest 1; all become 0 if they are equal."""
    least, most = min(found, default=0.0), max(found, default=0.0)
    span = most - least
    return [(each - least) / span if span else 0.0 for each in found]
