"""The ways in which a test waits: for a condition, or for an end, until a deadline that only a fault reaches."""

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T], seconds: float = 60, facts: Callable[[], object] = str) -> T:
    """The first true value of `condition`. AssertionError, with its last value and the `facts`, after `seconds` without one."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: the last look gave {value!r} {facts()}"
        time.sleep(POLL_SECONDS)
    return value


def end_of(function: Callable[[], T], seconds: float = 60) -> T:
    """What `function` returns or raises, in a thread of its own. AssertionError where it has not ended after `seconds`."""
    ends: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ends.put((function(), None))
        except BaseException as error:
            ends.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = ends.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"it has not ended after {seconds} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
