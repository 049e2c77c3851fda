"""The rate of an operation: for its progress report, and for the engine, which gives slots to operations that use them."""

import time

# Weight of the newest sample. With two samples a second, those older than five seconds weigh less than 2 % together.
NEWEST_WEIGHT = 0.35
# A slower copy keeps neither a disk nor a processor busy, so that a slot for it would be wasted.
SLOW_BYTES_PER_SECOND = 1 << 20
# Much longer than a disk takes for one flush, and short for operations that wait for a slot.
SLOW_AFTER_SECONDS = 3.0


class RateEstimator:
    """A moving average of bytes a second; the newest sample weighs most, so that a stall is seen within seconds."""

    def __init__(self, done: int) -> None:
        self._done, self._at, self._rate = done, time.monotonic(), 0.0
        self._since, self._from, self._slow = self._at, done, False

    def seconds(self) -> float:
        """Seconds since the last sample."""
        return time.monotonic() - self._at

    def rate(self, done: int) -> int:
        """Take a sample, and return the average in bytes a second. done: bytes so far."""
        newest = max(0, done - self._done) / max(self.seconds(), 0.001)
        self._rate = newest if not self._rate else (1 - NEWEST_WEIGHT) * self._rate + NEWEST_WEIGHT * newest
        self._done, self._at = done, time.monotonic()
        return int(self._rate)

    def note(self, done: int) -> None:
        """Record the bytes done so far. Cheap: called for every report of progress."""
        now = time.monotonic()
        if now - self._since >= SLOW_AFTER_SECONDS:
            self._slow = done - self._from < SLOW_BYTES_PER_SECOND * (now - self._since)
            self._since, self._from = now, done

    def is_slow(self) -> bool:
        """Whether the operation has moved fewer bytes than SLOW_BYTES_PER_SECOND recently, or has reported none."""
        return self._slow or time.monotonic() - self._since > 2 * SLOW_AFTER_SECONDS

    def restart(self) -> None:
        """Do not count the time before, in which the operation waited for its slot."""
        self._since, self._slow = time.monotonic(), False
