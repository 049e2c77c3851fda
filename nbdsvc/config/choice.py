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

    # The multiplier of each weigher: capacity (capacity that new volumes may be promised), allocated_capacity and
    # volume_number (below 0, they spread volumes over pools), goodness (the backends' goodness_function), chance. A
    # weigher that is missing has the multiplier 0.
    scheduler_weights: dict[str, Any] = field(default_factory=lambda: {"capacity": 1.0, "goodness": 1.0})
    # filter_function and goodness_function of backends whose own options do not set them. Empty: those that the
    # backend's driver has, if any.
    filter_function: str = ""
    goodness_function: str = ""
    # The most pools in which a volume's creation is tried, one after the other, when their backends fail to create it.
    scheduler_max_attempts: int = 3
    # Name or id of the volume type of a volume whose creation names none. This type cannot be deleted.
    default_volume_type: str = "__DEFAULT__"
    # Name or id of the group type that clients see as the default one; empty: none. It cannot be deleted.
    default_group_type: str = ""

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        weights = self.scheduler_weights
        yield Check(not _are_weights(weights), "scheduler_weights", f"must be numbers of {', '.join(WEIGHERS)}")
        yield Check(self.scheduler_max_attempts < 1, "scheduler_max_attempts", "must be at least 1")


def _are_weights(found: Mapping[str, Any]) -> bool:
    return all(
        name in WEIGHERS and isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= MOST_WEIGHT
        for name, each in found.items()
    )
