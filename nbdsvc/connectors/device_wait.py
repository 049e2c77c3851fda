"""The wait for a device to come up or to end."""

import time
from collections.abc import Callable

from nbdsvc import errors

POLL_SECONDS = 0.02


def wait_until(done: Callable[[], object], device: str, reason: str, seconds: float) -> None:
    """Return when `done` is true. DeviceBusy, with the reason, after so many seconds without that."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise errors.DeviceBusy(device=device, reason=reason)
        time.sleep(POLL_SECONDS)
