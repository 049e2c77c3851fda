"""Properties: a backend's description of the extra specs that it reads (S081)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Property:
    """An extra spec. type: the JSON Schema type of its values: boolean, string, integer, number."""

    title: str
    description: str
    type: str = "boolean"
    enum: Sequence[Any] | None = None
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The property as JSON, without fields that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@runtime_checkable
class VendorPropertiesDriver(Protocol):
    """A driver that reads extra specs of its own, whose names begin with the vendor's name."""

    def init_vendor_properties(self) -> tuple[Mapping[str, Property], str]:
        """The properties by their names (`vendor:name`), and the vendor's name. Called twice at every report."""


def vendor_prefix(vendor: str | None) -> str | None:
    """The vendor's name as the prefix of its properties, with _ for each colon, because a colon ends the prefix."""
    return vendor.replace(":", "_") if vendor else None


def prefixed_property(vendor: str | None, property: str | None) -> str | None:
    """`vendor:property`; None when one of the two is missing."""
    prefix = vendor_prefix(vendor)
    return f"{prefix}:{property}" if prefix and property else None
