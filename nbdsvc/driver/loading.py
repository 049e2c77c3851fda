"""Finds installed drivers, and describes a driver for the API."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from nbdsvc import errors
from nbdsvc.driver.core import Driver

ENTRY_POINT_GROUP = "nbdsvc.drivers"


def describe(driver: Driver) -> dict[str, Any]:
    """The capabilities document of `GET /capabilities/{host}`: statistics and standard properties (S036, S082)."""
    facts = driver.facts
    standard = {
        "thin_provisioning": ("Thin Provisioning", "Sets thin provisioning.", facts.thin),
        "compression": ("Compression", "Enables compression.", False),
        "qos": ("QoS", "Enables QoS.", False),
        "replication_enabled": ("Replication", "Enables replication.", False),
    }
    return {
        "driver_version": driver.get_version(),
        "volume_backend_name": driver.name,
        "vendor_name": "nbdsvc",
        "properties": {
            name: {"title": title, "description": text, "type": "boolean", "default": value}
            for name, (title, text, value) in standard.items()
        },
    }


def load(kind: str) -> Callable[..., Driver]:
    """The driver class that some installed package offers as entry point `kind` of the group nbdsvc.drivers."""
    offered = entry_points(group=ENTRY_POINT_GROUP)
    for point in offered:
        if point.name == kind:
            return cast("Callable[..., Driver]", point.load())
    known = ", ".join(sorted(point.name for point in offered)) or "none"
    raise errors.ConfigError(setting="driver", reason=f"no driver is called {kind}; installed are: {known}")


def check_complete(driver: object, setting: str) -> Driver:
    """The driver; ConfigError that names what it lacks of Driver, which every driver implements."""
    members = {*vars(Driver), *Driver.__annotations__}
    missing = sorted(name for name in members if not name.startswith("_") and not hasattr(driver, name))
    if missing or not isinstance(driver, Driver):
        reason = f"{type(driver).__name__} is no driver: it does not have {', '.join(missing)}"
        raise errors.ConfigError(setting=setting, reason=reason)
    return driver
