"""Drivers that delegate to another driver (Cinder's ProxyVD, S105)."""

from typing import Any


class ProxyVD:
    """A driver that delegates every call that it does not define to the driver in its attribute `driver`.

    Its capabilities are those of that driver. A subclass that finds the driver elsewhere overrides `_get_driver`.
    """

    def _get_driver(self) -> Any:
        """The driver that does the work; None while there is none."""
        return vars(self).get("driver")

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that the proxy does not define. Raises AttributeError when there is no driver."""
        driver = None if name.startswith("__") else self._get_driver()
        if driver is None:
            raise AttributeError(f"{type(self).__name__} has no {name}, and no driver that could have it")
        return getattr(driver, name)


def class_name(driver: object) -> str:
    """The name of a driver's class in reports and messages; for a proxy, that of the driver behind it."""
    behind = driver._get_driver() if isinstance(driver, ProxyVD) else None
    return type(driver).__name__ if behind is None else class_name(behind)
