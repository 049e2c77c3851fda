"""How fast an operation goes: for whoever watches it, and for the engine, which gives slots to those that use them."""

import time

# Of what is measured twice a second: five seconds and older weigh less than a fiftieth.
PACE_WEIGHT = 0.35
# A copy that moves less than this keeps neither a disk nor a processor busy: a slot for it would be wasted.
SLOW_BYTES_PER_SECOND = 1 << 20
# Long against the time that a disk may take for one flush, short against the patience of who waits for a slot.
SLOW_AFTER_SECONDS = 3.0


class Pace:
    """The newest of some steps weighs most, so that a limit or a stall is seen within seconds."""

    def __init__(self, done: int) -> None:
        self._done, self._at, self._rate = done, time.monotonic(), 0.0
        self._since, self._from, self._slow = self._at, done, False

    def seconds(self) -> float:
        """Since the last look."""
        return time.monotonic() - self._at

    def rate(self, done: int) -> int:
        """A second, until now."""
        newest = max(0, done - self._done) / max(self.seconds(), 0.001)
        self._rate = newest if not self._rate else (1 - PACE_WEIGHT) * self._rate + PACE_WEIGHT * newest
        self._done, self._at = done, time.monotonic()
        return int(self._rate)

    def note(self, done: int) -> None:
        """So much is done now. Cheap."""
        now = time.monotonic()
        if now - self._since >= SLOW_AFTER_SECONDS:
            self._slow = done - self._from < SLOW_BYTES_PER_SECOND * (now - self._since)
            self._since, self._from = now, done

    def is_slow(self) -> bool:
        """It moved next to nothing of late; also while it says nothing at all, because its source says nothing."""
        return self._slow or time.monotonic() - self._since > 2 * SLOW_AFTER_SECONDS

    def restart(self) -> None:
        """What was before is no sign of what comes: it waited for its slot."""
        self._since, self._slow = time.monotonic(), False
