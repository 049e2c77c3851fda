"""The one way in which a test waits: for a condition, until a deadline that only a fault reaches."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T], seconds: float = 60) -> T:
    """The first true value of `condition`. AssertionError, with the last value, after `seconds` without one."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: the last look gave {value!r}"
        time.sleep(POLL_SECONDS)
    return value
