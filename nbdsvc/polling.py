"""The wait for what sends no notification: files, processes, devices."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float, poll: float = 0.02) -> T:
    """The first true value of `predicate`; its last one, which is false, after `timeout` seconds.

    timeout, poll: seconds. It is called at least once.
    """
    end = time.monotonic() + timeout
    while not (value := predicate()) and time.monotonic() < end:
        time.sleep(poll)
    return value
