"""Statistics of a pool."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

# Cinder's values for a capacity that is not a number.
Limitless = Literal["infinite", "unknown"]
Capacity = int | Limitless
LIMITLESS: tuple[Limitless, ...] = get_args(Limitless)


@dataclass(frozen=True)
class PoolStats:
    """The statistics of one pool; sizes are bytes. The operator sets `reserved_percentage` and
    `max_over_subscription_ratio`.

    `total`, `free`: "infinite" or "unknown" where the backend has no number. `provisioned`: the sum of the volumes'
    sizes, 0 where the backend does not know it; `allocated`: the space that volumes occupy. `metadata_percent`: the
    used part of the pool's metadata, where the pool has metadata that can be full.
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
    # The reason why the pool does not work; its sizes are 0 then. Empty when the pool works.
    fault: str = ""

    @property
    def is_limitless(self) -> bool:
        """Whether the pool's size or free space is no number."""
        return isinstance(self.total, str) or isinstance(self.free, str)

    def writable(self) -> float:
        """Bytes that may still be written: the free space less the reserve; below 0 when the reserve is used, too."""
        if isinstance(self.free, str):
            return math.inf
        return self.free - (0 if isinstance(self.total, str) else self.total * self.reserved_percentage // 100)

    def room(self) -> float:
        """Bytes that new volumes may still have: thin pools by over-subscription, thick pools by their free space.

        Infinite when the free space is no number, as in Cinder: the pool itself refuses a volume that does not fit. 0
        when only the total is no number and a percentage of it is to be reserved, because the reserve cannot be
        computed.
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
    """The pool of a driver that reports none (S130): listed without capacity, so that no volume is placed there."""
    return PoolStats(name, 0, 0, 0, 0, 0, reserved_percentage=100, thin=False)
