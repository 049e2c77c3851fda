"""Statistics of a pool."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolStats:
    """One pool's truth, in bytes. `reserved_percentage` and `max_over_subscription_ratio` as the operator set them.

    `provisioned`: sum of the sizes promised to volumes; `allocated`: what they really occupy. `metadata_percent`: how full
    the pool's own book-keeping is, where it has one that can be full.
    """

    name: str
    total: int
    free: int
    provisioned: int
    allocated: int
    volumes: int
    reserved_percentage: int = 0
    max_over_subscription_ratio: float = 20.0
    thin: bool = True
    metadata_percent: float | None = None
    # Why nothing in the pool can be served now; then its sizes are 0. Empty where it works.
    fault: str = ""

    def room(self) -> int:
        """Bytes that may still be promised to new volumes: thin by over-subscription, thick by what is free."""
        if self.fault:
            return 0
        reserved = self.total * self.reserved_percentage // 100
        if not self.thin:
            return max(0, self.free - reserved)
        if self.free - reserved <= 0:
            return 0
        promised = int((self.total - reserved) * self.max_over_subscription_ratio) - self.provisioned
        return max(0, promised)
