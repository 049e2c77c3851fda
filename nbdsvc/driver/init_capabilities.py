"""The capabilities document of a backend: what it is, and its properties, the standard ones and its vendor's (S036, S082)."""

from typing import Any

import structlog

from nbdsvc.driver.capabilities import capabilities_of
from nbdsvc.driver.core import Driver
from nbdsvc.driver.properties import Property, VendorPropertiesDriver, vendor_prefix

log = structlog.get_logger(__name__)


def init_capabilities(driver: Driver) -> dict[str, Any]:
    """The capabilities document of `GET /capabilities/{host}`, made anew at every report (S036, S082)."""
    return {
        "driver_version": driver.get_version(),
        "volume_backend_name": driver.name,
        "vendor_name": "nbdsvc",
        "properties": {name: each.to_json() for name, each in {**_standard(driver), **_vendors(driver)}.items()},
    }


def _standard(driver: Driver) -> dict[str, Property]:
    able = capabilities_of(driver)
    return {
        "thin_provisioning": Property("Thin Provisioning", "Sets thin provisioning.", default=able.thin),
        "compression": Property("Compression", "Enables compression.", default=False),
        "qos": Property("QoS", "Enables QoS.", default=False),
        "replication_enabled": Property("Replication", "Enables replication.", default=able.replication),
    }


def _vendors(driver: Driver) -> dict[str, Property]:
    """Those of the vendor, without the ones whose names are not."""
    if not isinstance(driver, VendorPropertiesDriver):
        return {}
    properties, vendor = driver.init_vendor_properties()
    if ":" in vendor:
        log.warning("a vendor's name has a colon, which becomes _", driver=driver.name, vendor=vendor)
    prefix = f"{vendor_prefix(vendor)}:"
    if wrong := sorted(name for name in properties if not name.startswith(prefix)):
        log.warning("properties are left out that do not begin with their vendor", driver=driver.name, names=wrong)
    return {name: each for name, each in properties.items() if vendor and name.startswith(prefix)}
