"""Two clocks: the time of day for people and rows, monotonic time for everything that is measured in one process.

The time of day may jump (a machine that slept, an administrator, NTP after a long time without): what must not follow it
is counted with `monotonic`; what must know of jumps reads `offset` at intervals.
"""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The time of day in UTC, without a zone, as rows keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


def offset() -> float:
    """Seconds between the two clocks: it changes when, and by what, the time of day jumps."""
    return time.time() - time.monotonic()


monotonic = time.monotonic
