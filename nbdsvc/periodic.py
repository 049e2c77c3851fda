"""A thread that calls a task now and at every interval, also after failures and jumps of the clock."""

import threading
from collections.abc import Callable

import structlog

from nbdsvc.model import clock

log = structlog.get_logger(__name__)

# Seconds between two checks of the clock, and seconds of a jump: more than NTP slews between two checks, and less than
# the tolerance of placement for late reports.
CLOCK_SECONDS = 1.0
JUMP_SECONDS = 5.0
# Seconds that `join` waits: a driver that does not return must not delay a stop; its thread is a daemon.
STOP_SECONDS = 10.0


class PeriodicTask:
    """Calls `task` in a thread of its own until `stop`, or until `may_run` returns False. interval: seconds.

    reports_jumps: whether this task logs jumps of the clock, because every task of a process notices each jump. at_once:
    whether the first call comes at the start, and not after an interval.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        task: Callable[[], object],
        may_run: Callable[[], bool] = lambda: True,
        *,
        reports_jumps: bool = False,
        at_once: bool = True,
    ) -> None:
        self.name = name
        self._interval = interval
        self._task = task
        self._may_run = may_run
        self._reports_jumps = reports_jumps
        self._at_once = at_once
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread make no further call. Returns at once; `join` waits."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for a running call, at most STOP_SECONDS."""
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("a task that does not end is left behind", task=self.name)

    def _run(self) -> None:
        if not self._at_once and self._pause():
            return
        while True:
            try:
                if not self._may_run():
                    return
                self._task()
            except Exception as error:  # a failure must not end the thread
                log.error("a periodic task failed", task=self.name, reason=str(error))
            if self._pause():
                return

    def _pause(self) -> bool:
        """Sleep; True at a stop. Shorter after a jump of the clock, because the last report then has a wrong age."""
        end, offset = clock.monotonic() + self._interval, clock.offset()
        while (left := end - clock.monotonic()) > 0:
            if self._stopping.wait(min(left, CLOCK_SECONDS)):
                return True
            if abs(jumped := clock.offset() - offset) > JUMP_SECONDS:
                if self._reports_jumps:
                    log.warning("the clock jumped", seconds=round(jumped))
                break
        return self._stopping.is_set()
