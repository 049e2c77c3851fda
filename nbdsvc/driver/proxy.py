"""Drivers that stand for another one, which does the work (Cinder's ProxyVD, S105)."""

from typing import Any


class ProxyVD:
    """Marks a driver that has another one in its attribute `driver`, and passes every other call on to it.

    What it can do is what that one implements. One that finds its driver elsewhere overrides `_get_driver`.
    """

    def _get_driver(self) -> Any:
        """The driver that does the work; None while there is none."""
        return vars(self).get("driver")

    def __getattr__(self, name: str) -> Any:
        """Called for what the proxy does not have itself."""
        driver = None if name.startswith("__") else self._get_driver()
        if driver is None:
            raise AttributeError(f"{type(self).__name__} has no {name}, and no driver that could have it")
        return getattr(driver, name)


def class_name(driver: object) -> str:
    """The name of a driver's class in reports and messages; of a proxy, that of the driver which it stands for."""
    behind = driver._get_driver() if isinstance(driver, ProxyVD) else None
    return type(driver).__name__ if behind is None else class_name(behind)
