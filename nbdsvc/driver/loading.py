"""Finds installed drivers."""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import cast

from nbdsvc import errors
from nbdsvc.driver.core import Driver

ENTRY_POINT_GROUP = "nbdsvc.drivers"


def load(kind: str, setting: str = "driver") -> Callable[..., Driver]:
    """The driver class that an installed package offers as entry point `kind` of the group nbdsvc.drivers. A name of ours is
    ours, whoever else offers it.

    Raises ConfigError, which names the setting, where no package offers it.
    """
    offered: Iterable[EntryPoint] = ()
    for offered in (_own(), entry_points(group=ENTRY_POINT_GROUP)):
        for point in offered:
            if point.name == kind:
                return cast("Callable[..., Driver]", point.load())
    known = ", ".join(sorted(point.name for point in offered)) or "none"
    raise errors.ConfigError(setting=setting, reason=f"no driver is called {kind}; installed are: {known}")


def _own() -> Iterable[EntryPoint]:
    """The drivers of this package, looked at first: to read what every installed package offers takes 10 ms of a start."""
    try:
        return distribution("nbdsvc").entry_points.select(group=ENTRY_POINT_GROUP)
    except PackageNotFoundError:
        return ()


def check_complete(driver: object, setting: str) -> Driver:
    """The driver. Raises ConfigError, which names the methods of Driver that the driver does not implement."""
    members = {*vars(Driver), *Driver.__annotations__}
    missing = sorted(name for name in members if not name.startswith("_") and not hasattr(driver, name))
    if missing or not isinstance(driver, Driver):
        reason = f"{type(driver).__name__} is no driver: it does not have {', '.join(missing)}"
        raise errors.ConfigError(setting=setting, reason=reason)
    return driver
