"""The wait for a device to come up or to end."""

from collections.abc import Callable

from nbdsvc import errors
from nbdsvc.polling import wait_until


def await_device(done: Callable[[], object], device: str, reason: str, seconds: float) -> None:
    """Return when `done` is true. Raises DeviceBusy with the reason when `done` is not true within `seconds`."""
    if not wait_until(done, seconds):
        raise errors.DeviceBusy(device=device, reason=reason)
