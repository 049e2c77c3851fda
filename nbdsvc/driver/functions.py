"""The filter and goodness function of a backend: its option, else the setting for all backends, else the driver's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from nbdsvc.driver.core import Driver

FILTER, GOODNESS = "filter_function", "goodness_function"


@runtime_checkable
class DefaultFunctionsDriver(Protocol):
    """A driver with default functions for its backend, which are used where the operator sets none."""

    def get_default_filter_function(self) -> str | None:
        """The expression, or None."""

    def get_default_goodness_function(self) -> str | None:
        """The expression, or None."""


@dataclass(frozen=True)
class Function:
    """An expression, and its origin: `option` of the backend, `setting` for all backends, or `driver`."""

    text: str
    origin: str


def functions_of(driver: Driver, settings: Mapping[str, str]) -> dict[str, Function]:
    """The functions of a backend by name, without those that are not set. settings: those for all backends."""
    options = {FILTER: driver.get_filter_function(), GOODNESS: driver.get_goodness_function()}
    own: dict[str, str | None] = {}
    if isinstance(driver, DefaultFunctionsDriver):
        own = {FILTER: driver.get_default_filter_function(), GOODNESS: driver.get_default_goodness_function()}
    found = {name: _first(options.get(name), settings.get(name), own.get(name)) for name in (FILTER, GOODNESS)}
    return {name: function for name, function in found.items() if function}


def _first(option: str | None, setting: str | None, own: str | None) -> Function | None:
    order = (Function(option or "", "option"), Function(setting or "", "setting"), Function(own or "", "driver"))
    return next((each for each in order if each.text), None)
