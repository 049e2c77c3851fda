"""A thread that does something now and at every interval, whatever its failures and the clock's jumps."""

import threading
from collections.abc import Callable

import structlog

from nbdsvc.model import clock

log = structlog.get_logger(__name__)

# How often the clock is looked at, and what counts as a jump: more than NTP slews in that time, less than placement grants.
CLOCK_SECONDS = 1.0
JUMP_SECONDS = 5.0
# What a stop waits for: a driver that does not answer must not hold it up, and its thread is a daemon.
STOP_SECONDS = 10.0


class PeriodicTask:
    """Calls `task` in a thread of its own until it is stopped or `may_run` is False. `interval`: seconds.

    reports_jumps: whether this task logs a jump of the clock, which all tasks of a process see.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        task: Callable[[], object],
        may_run: Callable[[], bool] = lambda: True,
        *,
        reports_jumps: bool = False,
    ) -> None:
        self.name = name
        self._interval = interval
        self._task = task
        self._may_run = may_run
        self._reports_jumps = reports_jumps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """The first call is made at once."""
        self._thread.start()

    def stop(self) -> None:
        """No further call is made. Returns at once; `join` waits."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for a call that is under way, but not for ever."""
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("a task that does not end is left behind", task=self.name)

    def _run(self) -> None:
        while True:
            try:
                if not self._may_run():
                    return
                self._task()
            except Exception as error:  # one failure does not end it
                log.error("a periodic task failed", task=self.name, reason=str(error))
            if self._pause():
                return

    def _pause(self) -> bool:
        """Sleep; True at a stop. Shorter when the clock jumped: our last report looks too old, or too new."""
        end, offset = clock.monotonic() + self._interval, clock.offset()
        while (left := end - clock.monotonic()) > 0:
            if self._stopping.wait(min(left, CLOCK_SECONDS)):
                return True
            if abs(jumped := clock.offset() - offset) > JUMP_SECONDS:
                if self._reports_jumps:
                    log.warning("the clock jumped", seconds=round(jumped))
                break
        return self._stopping.is_set()
