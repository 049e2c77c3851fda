"""How a pool is chosen for a new volume, and the volume type of one that names none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.config.check import Check

# Names of the weighers in scheduler/weighers, which this layer may not import.
WEIGHERS = ("capacity", "allocated_capacity", "volume_number", "goodness", "chance")
# Far above any useful multiplier, and small enough for exact sums; NaN is refused by the comparison.
MOST_WEIGHT = 1e6


@dataclass(frozen=True)
class Choice:
    """How a pool is chosen for a new volume, and the volume type of one that names none."""

    # How much each weigher counts in the choice of a pool: capacity (room for promises), allocated_capacity, volume_number
    # (both spread volumes where it is below 0), goodness (the backends' goodness_function), chance. One that is missing: 0.
    scheduler_weights: dict[str, Any] = field(default_factory=lambda: {"capacity": 1.0, "goodness": 1.0})
    # Expressions that decide and score for backends whose options have no filter_function and goodness_function of their own.
    # Empty: those that the backend's driver has, if any.
    filter_function: str = ""
    goodness_function: str = ""
    # Pools in which a creation is tried at most, one after the other, where their backends fail at it.
    scheduler_max_attempts: int = 3
    # Name or id of the volume type of a volume whose creation names none. It cannot be deleted.
    default_volume_type: str = "__DEFAULT__"

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        weights = self.scheduler_weights
        yield Check(not _are_weights(weights), "scheduler_weights", f"must be numbers of {', '.join(WEIGHERS)}")
        yield Check(self.scheduler_max_attempts < 1, "scheduler_max_attempts", "must be at least 1")


def _are_weights(found: Mapping[str, Any]) -> bool:
    return all(
        name in WEIGHERS and isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= MOST_WEIGHT
        for name, each in found.items()
    )
