"""The capabilities document of a backend: its description, standard properties and vendor properties (S036, S082)."""

from typing import Any

from nbdsvc.driver.capabilities import capabilities_of
from nbdsvc.driver.core import Driver
from nbdsvc.driver.properties import Property, VendorPropertiesDriver, vendor_prefix


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
    """The vendor's properties, without those whose names do not begin with the vendor's prefix."""
    if not isinstance(driver, VendorPropertiesDriver):
        return {}
    properties, vendor = driver.init_vendor_properties()
    prefix = f"{vendor_prefix(vendor)}:"
    return {name: each for name, each in properties.items() if vendor and name.startswith(prefix)}


def property_faults(driver: Driver) -> list[str]:
    """The faults in the names of the vendor and its properties, each as a sentence for the log."""
    if not isinstance(driver, VendorPropertiesDriver):
        return []
    properties, vendor = driver.init_vendor_properties()
    prefix = f"{vendor_prefix(vendor)}:"
    wrong = sorted(name for name in properties if not name.startswith(prefix))
    colon = [f"the vendor's name {vendor} has a colon, which becomes _"] if ":" in vendor else []
    begin = f"do not begin with {prefix}" if vendor else "have no vendor"
    return colon + ([f"properties that {begin} are left out: {', '.join(wrong)}"] if wrong else [])
