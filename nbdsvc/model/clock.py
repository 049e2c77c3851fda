"""Two clocks: the time of day for people and rows, monotonic time for everything that is measured in one process.

The time of day may jump (after a suspend, by an administrator, or by NTP after a long outage), and those of two machines
differ. Durations that must not follow a jump are measured with `monotonic`; code that must notice jumps reads `offset` at
intervals. Processes that share rows take the time of their database in place of their machine's (`follow`).
"""

import time
from datetime import UTC, datetime


class _Followed:
    """The clock of this process's rows. ahead: seconds from `monotonic` to it; None: this machine's own is taken."""

    ahead: float | None = None


_followed = _Followed()


def now() -> datetime:
    """The time of day in UTC, without a zone, as rows store it."""
    ahead = _followed.ahead
    seconds = time.time() if ahead is None else time.monotonic() + ahead
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def follow(least: float, most: float) -> None:
    """Let `now` be another machine's time of day, which is between so many seconds ahead of `monotonic`."""
    _followed.ahead = nearest(_followed.ahead, least, most)


def nearest(known: float | None, least: float, most: float) -> float:
    """The value between the two that is nearest to the known one, so that `now` goes no step for an error of measurement."""
    return (least + most) / 2 if known is None else min(max(known, least), most)


def offset() -> float:
    """Seconds between the two clocks; a jump of the time of day changes this difference by its length."""
    return time.time() - time.monotonic()


monotonic = time.monotonic
