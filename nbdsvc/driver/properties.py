"""Properties: what a backend says of the extra specs that it reads (S081)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Property:
    """An extra spec. type: of its values, as in JSON Schema: boolean, string, integer, number."""

    title: str
    description: str
    type: str = "boolean"
    enum: Sequence[Any] | None = None
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what is not said."""
        return {name: value for name, value in vars(self).items() if value is not None}


@runtime_checkable
class VendorPropertiesDriver(Protocol):
    """A driver that reads extra specs of its own, whose names begin with its vendor's."""

    def init_vendor_properties(self) -> tuple[Mapping[str, Property], str]:
        """The properties by their names, each `vendor:name`, and the vendor's name. Called at every report, twice."""


def vendor_prefix(vendor: str | None) -> str | None:
    """The vendor's name as its properties begin with: a colon would end it too early."""
    return vendor.replace(":", "_") if vendor else None


def prefixed_property(vendor: str | None, property: str | None) -> str | None:
    """`vendor:property`; None without either."""
    prefix = vendor_prefix(vendor)
    return f"{prefix}:{property}" if prefix and property else None
