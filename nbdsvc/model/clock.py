"""Two clocks: the time of day for people and rows, monotonic time for everything that is measured in one process.

The time of day may jump (after a suspend, by an administrator, or by NTP after a long outage). Durations that must not
follow a jump are measured with `monotonic`; code that must notice jumps reads `offset` at intervals.
"""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The time of day in UTC, without a zone, as rows store it."""
    return datetime.now(UTC).replace(tzinfo=None)


def offset() -> float:
    """Seconds between the two clocks; a jump of the time of day changes this difference by its length."""
    return time.time() - time.monotonic()


monotonic = time.monotonic
