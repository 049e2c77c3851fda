"""The deadline of an operation on the monotonic clock, which does not jump."""

import math

from nbdsvc.model import clock
from nbdsvc.model.operation import Operation


class Deadline:
    """The deadline, computed again from the row's time of day on each host that takes the operation up.

    That is the database's time of day, so that the machines' clocks need not agree. Its server may get another clock by a
    fail-over: the time left is never longer than the operation's whole time.
    """

    def __init__(self, operation: Operation) -> None:
        self.seconds = math.inf
        """How long it may take, from its submission."""
        self._end = math.inf
        if operation.deadline is not None:
            self.seconds = (operation.deadline - operation.created_at).total_seconds()
            left = (operation.deadline - clock.now()).total_seconds()
            self._end = clock.monotonic() + min(left, self.seconds)

    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return clock.monotonic() > self._end
