"""Statistics of a pool."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

# Cinder's words for a capacity that is not a number.
Limitless = Literal["infinite", "unknown"]
Capacity = int | Limitless
LIMITLESS: tuple[Limitless, ...] = get_args(Limitless)


@dataclass(frozen=True)
class PoolStats:
    """One pool's truth, in bytes. `reserved_percentage` and `max_over_subscription_ratio` as the operator set them.

    `total`, `free`: "infinite" or "unknown" where the backend has no number. `provisioned`: sum of the sizes promised to
    volumes, 0 where the backend does not know it; `allocated`: what they really occupy. `metadata_percent`: how full the
    pool's own book-keeping is, where it has one that can be full.
    """

    name: str
    total: Capacity
    free: Capacity
    provisioned: int
    allocated: int
    volumes: int
    reserved_percentage: int = 0
    max_over_subscription_ratio: float = 20.0
    thin: bool = True
    metadata_percent: float | None = None
    # Why nothing in the pool can be served now; then its sizes are 0. Empty where it works.
    fault: str = ""

    @property
    def is_limitless(self) -> bool:
        """Whether its size, or what is free of it, is no number."""
        return isinstance(self.total, str) or isinstance(self.free, str)

    def writable(self) -> float:
        """Bytes that may still be written: what is free without what is reserved; below 0 where that is used too."""
        if isinstance(self.free, str):
            return math.inf
        return self.free - (0 if isinstance(self.total, str) else self.total * self.reserved_percentage // 100)

    def room(self) -> float:
        """Bytes that may still be promised to new volumes: thin by over-subscription, thick by what is free.

        Infinite where the pool has no number for it, as in Cinder: what it cannot take it refuses when it comes. But a
        part of a size that is no number cannot be reserved: such a pool takes nothing.
        """
        if self.fault:
            return 0
        if isinstance(self.total, str) or isinstance(self.free, str):
            return math.inf if isinstance(self.free, str) or not self.reserved_percentage else 0
        if not self.thin:
            return max(0, self.writable())
        if self.writable() <= 0:
            return 0
        most = (self.total - self.total * self.reserved_percentage // 100) * self.max_over_subscription_ratio
        return most if math.isinf(most) else max(0, int(most) - self.provisioned)


def unmeasured(name: str) -> PoolStats:
    """The pool of a driver that reports none (S130): it is seen, and takes nothing, because all of nothing is reserved."""
    return PoolStats(name, 0, 0, 0, 0, 0, reserved_percentage=100, thin=False)
