"""The clock as an argument: wall time for people and rows, monotonic time for deadlines within one process."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The time of day in UTC, without a zone, as rows keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


monotonic = time.monotonic
