"""What a backend reports beside its statistics: the functions that count for it, and properties of a vendor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pools import Made, implementing

from drivers.memory import MemoryDriver
from nbdsvc.driver import (
    FILTER,
    GOODNESS,
    DefaultFunctionsDriver,
    Driver,
    Property,
    VendorPropertiesDriver,
    functions_of,
    init_capabilities,
    prefixed_property,
    property_faults,
)

STANDARD = ["thin_provisioning", "compression", "qos", "replication_enabled"]


@pytest.mark.row("S078", "S079")
@pytest.mark.parametrize(
    ("option", "setting", "own", "found"),
    [
        ("1 < 2", "2 < 3", "3 < 4", ("1 < 2", "option")),
        (None, "2 < 3", "3 < 4", ("2 < 3", "setting")),
        (None, "", "3 < 4", ("3 < 4", "driver")),
        (None, "", None, None),
    ],
)
def test_the_first_function_counts(
    tmp_path: Path, option: str | None, setting: str, own: str | None, found: tuple[str, str] | None
) -> None:
    """The option of the backend, else the setting for all backends, else the driver's default, else none; of both kinds."""
    driver = MemoryDriver(
        "b", tmp_path / "p", filter_function=option, goodness_function=option,
        default_filter_function=own, default_goodness_function=own,
    )  # fmt: skip
    functions = functions_of(driver, {FILTER: setting, GOODNESS: setting})
    assert [(each.text, each.origin) for each in functions.values()] == ([found] * 2 if found else [])


@pytest.mark.row("S079")
def test_default_functions_are_none(make: Made) -> None:
    """No driver of ours has functions that the operator did not set."""
    driver = make()
    assert functions_of(driver, {}) == {}
    if isinstance(driver, DefaultFunctionsDriver):
        assert (driver.get_default_filter_function(), driver.get_default_goodness_function()) == (None, None)


@pytest.mark.row("S081")
@pytest.mark.parametrize(
    ("vendor", "property", "found"),
    [("sim", "delay", "sim:delay"), ("a:b", "c", "a_b:c"), ("sim", "", None), ("sim", None, None), (None, "c", None)],
)
def test_a_property_begins_with_its_vendor(
    tmp_path: Path, vendor: str | None, property: str | None, found: str | None
) -> None:
    """vendor:property, None without either, and a colon of the vendor's name is no second one."""
    assert prefixed_property(vendor, property) == found
    assert MemoryDriver("b", tmp_path / "p", vendor=vendor).get_prefixed_property(property) == found


@pytest.mark.row("S082")
def test_standard_properties(make: Made) -> None:
    """Each driver has them, each with title, description and type."""
    driver = make()
    properties = init_capabilities(driver)["properties"]
    assert list(properties)[:4] == STANDARD
    assert properties["thin_provisioning"]["title"] == "Thin Provisioning"
    assert properties["thin_provisioning"]["default"] is driver.facts.thin
    assert all({"title", "description", "type"} <= set(each) for each in properties.values())


@pytest.mark.row("S082")
@pytest.mark.parametrize("make", implementing("VendorPropertiesDriver"), indirect=True)
def test_vendor_properties_are_its_vendors(make: Made) -> None:
    """Every property that a driver names begins with its vendor, so that none is left out."""
    driver = make()
    assert isinstance(driver, VendorPropertiesDriver)
    assert set(driver.init_vendor_properties()[0]) <= set(init_capabilities(driver)["properties"])


class _Vendor(MemoryDriver):
    def init_vendor_properties(self) -> tuple[Mapping[str, Property], str]:
        tier = Property("Tier", "Kind of disk.", "string", enum=("gold", "silver"))
        return {"a_b:tier": tier, "a:b:tier": tier, "other:tier": tier, "tier": tier}, self.vendor or ""


@pytest.mark.row("S082")
@pytest.mark.parametrize(("vendor", "left"), [("a:b", ["a_b:tier"]), ("a_b", ["a_b:tier"]), ("x", []), ("", [])])
def test_foreign_properties_are_left_out(tmp_path: Path, vendor: str, left: list[str]) -> None:
    """Of a vendor with a colon it becomes _; what does not begin with the vendor is left out; both are faults."""
    driver: Driver = _Vendor("b", tmp_path / "p", vendor=vendor)
    found: dict[str, Any] = init_capabilities(driver)["properties"]
    assert [name for name in found if name not in STANDARD] == left
    if left:
        assert found[left[0]] == {
            "title": "Tier", "description": "Kind of disk.", "type": "string", "enum": ("gold", "silver"),
        }  # fmt: skip
    faults = property_faults(driver)
    why = f"do not begin with {vendor.replace(':', '_')}:" if vendor else "have no vendor"
    assert f"properties that {why} are left out: " in faults[-1]
    assert ("has a colon" in faults[0]) is (":" in vendor)
