"""The deadline of an operation on the clock that does not jump."""

import math

from nbdsvc.model import clock
from nbdsvc.model.operation import Operation


class Deadline:
    """Begins anew on each host that takes the operation up: its row has a time of day.

    It is off by as much as the clock there, and never further away than all the time that the operation may take: a clock
    that is behind cannot keep an operation for ever, and one that is ahead ends it early, which undoes it. Hosts that work
    together are expected to have NTP.
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
        """Whether the operation is to end now."""
        return clock.monotonic() > self._end
